// Package config reads firma.toml: one sectioned file, found by a fixed order,
// read once, and refused whole if any key is unknown or wrong. YAML of the same
// shape is read as well.
package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"firma/internal/fault"
)

// Config is a configuration with its paths made absolute. The zero value is what
// runs without a file: everything protected, the shipped mappings.
type Config struct {
	Path   string `toml:"-"` // "" without a file
	Source string `toml:"-"` // how Path was found, "" without a file

	Project   Project    `toml:"project"`
	Authority *Authority `toml:"authority"`
	Sidecar   Sidecar    `toml:"sidecar"`
	Run       Run        `toml:"run"`

	overrides     *Run            // a file of profiles and defaults only, above Run
	overridesPath string          // of that file
	template      string          // the file that Sidecar was taken from, if another
	hasSidecar    bool            // there is a [sidecar] table
	files         map[string]file // what trust was given to, by path
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

// maxFile is the largest configuration, or file it names, in bytes; maxText the
// largest configuration. What others may have written is parsed before it is
// trusted, to show what it says.
const (
	maxFile = 1 << 20
	maxText = 128 << 10
)

// Load reads one file. Errors are faults named ConfigParse or ConfigValidation
// that carry file, line, column and key of every mistake.
func Load(path string) (*Config, error) {
	abs, err := absolute(path)
	if err != nil {
		return nil, err
	}
	data, err := readLimited(abs)
	if err != nil {
		return nil, fault.Wrap(err, "ConfigParse", "the configuration "+abs+" can't be read", "check the path given by --config, --sidecar-config, FIRMA_CONFIG or FIRMA_SIDECAR_CONFIG_FILE")
	}
	return load(abs, data)
}

func load(path string, data []byte) (*Config, error) {
	c, err := Parse(path, data)
	if err != nil {
		return nil, err
	}
	if c.Authority != nil {
		c.Authority.findDirs(filepath.Dir(path))
	}
	return c, nil
}

// readLimited reads a regular file, or what a pipe gives.
func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f)
}

// Parse reads a file's content, TOML or (by its name) YAML; relative paths in it
// are based on path's directory.
func Parse(path string, data []byte) (*Config, error) {
	d := &decoder{problems: problems{path: path}, dir: filepath.Dir(path), places: map[string]place{}}
	root := d.read(data)
	if err := d.fault("ConfigParse", "correct the line"); err != nil {
		return nil, err
	}
	c := &Config{Path: path}
	if onlyOverrides(root) {
		c.overrides, c.overridesPath = &Run{}, path
		d.table(root, reflect.ValueOf(c.overrides).Elem(), "")
	} else {
		d.table(root, reflect.ValueOf(c).Elem(), "")
	}
	_, c.hasSidecar = d.places["sidecar"]
	c.check(d)
	if err := d.fault("ConfigValidation", "correct the file; docs/configuration.md lists the keys this version knows"); err != nil {
		return nil, err
	}
	return c, nil
}

func (p *problems) read(data []byte) *node {
	switch {
	case len(data) > maxText:
		p.add(place{}, "the file has more than %d KiB", maxText>>10)
		return nil
	case isYAML(p.path):
		return readYAML(data, p)
	}
	return readTOML(data, p)
}

func isYAML(path string) bool {
	return slices.Contains([]string{".yaml", ".yml"}, strings.ToLower(filepath.Ext(path)))
}

// onlyOverrides reports whether a file holds nothing but profiles and defaults,
// the short form of a [run] table that --config takes.
func onlyOverrides(root *node) bool {
	if root.kind != table || len(root.table) == 0 {
		return false
	}
	for key := range root.table {
		if key != "profiles" && key != "defaults" {
			return false
		}
	}
	return true
}

// ReadFile reads a file that the configuration names. Where the configuration was
// used because somebody trusts it, that is the content trust was given to.
func (c *Config) ReadFile(path string) ([]byte, error) {
	if f, trusted := c.files[path]; trusted {
		return f.data, f.err
	}
	return os.ReadFile(path)
}

// errTooLarge is a file that is no configuration.
var errTooLarge = errors.New("the file has more than 1 MiB")
