// Package config reads firma.toml: one sectioned file, found by a fixed order,
// read once, and refused whole if any key is unknown or wrong.
package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"firma/internal/fault"
)

// Config is a firma.toml with its paths made absolute. The zero value is what
// runs without a file: everything protected, the shipped mappings.
type Config struct {
	Path      string     `toml:"-"` // "" without a file
	Authority *Authority `toml:"authority"`
	Sidecar   Sidecar    `toml:"sidecar"`
	Run       Run        `toml:"run"`
}

// Authority is the table whose presence asks for a local Mini Authority.
type Authority struct {
	// PolicyDir holds the *.cedar files to stream; "" streams the dev posture.
	PolicyDir string `toml:"policy_dir"`
}

// Sidecar is the enforcement pipeline's table.
type Sidecar struct {
	Mapping   Mapping         `toml:"mapping"`
	Egress    Egress          `toml:"egress"`
	Audit     Audit           `toml:"audit"`
	Authority RemoteAuthority `toml:"authority"`
}

// Mapping names the rules files; none means the shipped mappings.
type Mapping struct {
	RulesPath        string   `toml:"rules_path"`
	RulesPaths       []string `toml:"rules_paths"`
	DefaultProtected *bool    `toml:"default_protected"` // nil: true
}

// Egress widens which addresses may be dialled.
type Egress struct {
	AllowedCIDRs []string          `toml:"allowed_cidrs"`
	Hosts        map[string]string `toml:"hosts"` // host → address[:port]
}

// Audit says how the log is kept.
type Audit struct {
	Mode           string `toml:"mode"` // "" (written before the decision is carried out) or "strict" (on disk)
	Sign           string `toml:"sign"` // "" or "checkpoint", or "event"
	SigningKeyPath string `toml:"signing_key_path"`
}

// RemoteAuthority is an Authority that somebody else runs.
type RemoteAuthority struct {
	URL           string `toml:"url"`
	PublicKeyPath string `toml:"public_key_path"` // 32 raw bytes, Ed25519
}

// Run is the launcher's table.
type Run struct {
	Profile string `toml:"profile"`
}

// Protected reports whether an unmapped destination is refused.
func (c *Config) Protected() bool {
	return c.Sidecar.Mapping.DefaultProtected == nil || *c.Sidecar.Mapping.DefaultProtected
}

// RulesFiles are the mapping files in the order they are read.
func (c *Config) RulesFiles() []string {
	m := c.Sidecar.Mapping
	if m.RulesPath == "" {
		return m.RulesPaths
	}
	return append([]string{m.RulesPath}, m.RulesPaths...)
}

// Load reads one file. Errors are faults named ConfigParse or ConfigValidation
// that carry file, line and key.
func Load(path string) (*Config, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(abs)
	if err != nil {
		return nil, fault.Wrap(err, "ConfigParse", "the configuration "+abs+" can't be read", "check the path given by --config or FIRMA_CONFIG")
	}
	c, err := Parse(abs, data)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Parse reads a file's content; relative paths in it are based on path's
// directory.
func Parse(path string, data []byte) (*Config, error) {
	c := &Config{}
	dec := toml.NewDecoder(strings.NewReader(string(data))).DisallowUnknownFields()
	if err := dec.Decode(c); err != nil {
		return nil, parseFault(path, err)
	}
	c.Path = path
	c.rebase(filepath.Dir(path))
	return c, c.validate()
}

func parseFault(path string, err error) error {
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) {
		var lines []string
		for _, e := range unknown.Errors {
			row, col := e.Position()
			lines = append(lines, fmt.Sprintf("%s:%d:%d: unknown key %s", path, row, col, strings.Join(e.Key(), ".")))
		}
		return fault.New("ConfigParse", strings.Join(lines, "\n"), "remove or correct the key; docs/configuration.md lists the keys this version knows")
	}
	var bad *toml.DecodeError
	if errors.As(err, &bad) {
		row, col := bad.Position()
		return fault.New("ConfigParse", fmt.Sprintf("%s:%d:%d: %s", path, row, col, bad.Error()), "correct the line")
	}
	return fault.Wrap(err, "ConfigParse", path+" is not valid TOML", "correct the file")
}

func (c *Config) rebase(dir string) {
	for _, p := range []*string{&c.Sidecar.Mapping.RulesPath, &c.Sidecar.Audit.SigningKeyPath, &c.Sidecar.Authority.PublicKeyPath} {
		*p = join(dir, *p)
	}
	for i, p := range c.Sidecar.Mapping.RulesPaths {
		c.Sidecar.Mapping.RulesPaths[i] = join(dir, p)
	}
	if c.Authority != nil {
		c.Authority.PolicyDir = join(dir, c.Authority.PolicyDir)
	}
}

func join(dir, p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(dir, p)
}

func (c *Config) validate() error {
	for _, s := range c.Sidecar.Egress.AllowedCIDRs {
		if _, err := netip.ParsePrefix(s); err != nil {
			return c.invalid("sidecar.egress.allowed_cidrs", s+" is not a CIDR such as 10.0.0.0/8 or ::1/128")
		}
	}
	switch c.Sidecar.Audit.Mode {
	case "", "strict":
	default:
		return c.invalid("sidecar.audit.mode", `must be "strict" or absent`)
	}
	switch c.Sidecar.Audit.Sign {
	case "", "checkpoint", "event":
	default:
		return c.invalid("sidecar.audit.sign", `must be "checkpoint" or "event"`)
	}
	return nil
}

func (c *Config) invalid(key, why string) error {
	return fault.New("ConfigValidation", c.Path+": "+key+": "+why, "correct the value")
}
