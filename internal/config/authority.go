package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"firma/internal/fault"
)

// The defaults of [authority] (config.md 4).
const (
	DefaultAuthorityListen = "[::1]:50051"
	DefaultMaxTTL          = time.Hour
	DefaultBundleTTL       = 30 * time.Second

	defaultPolicyDir         = "policies"
	defaultIssuancePolicyDir = "issuance-policies"
	defaultKeyFile           = "firma-authority.key"
	defaultRevocationFile    = "revocations.txt"
)

// settle fills in the files that `firma authority` keeps beside its configuration.
func (a *Authority) settle(dir string) {
	a.UsualKeyFile = filepath.Join(dir, defaultKeyFile)
	for p, def := range map[*string]string{&a.KeyFile: defaultKeyFile, &a.RevocationFile: defaultRevocationFile} {
		if *p == "" {
			*p = filepath.Join(dir, def)
		}
	}
}

// findDirs takes the directories beside the file that have the usual names, where
// no other is configured. Ignoring policies that lie there would be the surprise.
func (a *Authority) findDirs(dir string) {
	for p, name := range map[*string]string{&a.PolicyDir: defaultPolicyDir, &a.IssuancePolicyDir: defaultIssuancePolicyDir} {
		usual := filepath.Join(dir, name)
		if info, err := os.Stat(usual); *p == "" && err == nil && info.IsDir() {
			*p = usual
		}
	}
}

// RequireAuthority returns the [authority] table, or the fault that says how to
// write one.
func (c *Config) RequireAuthority() (*Authority, error) {
	if c.Authority != nil {
		return c.Authority, nil
	}
	where := c.Path
	if where == "" {
		return nil, fault.New("ConfigValidation", "there is no configuration with an [authority] section",
			"write one, say firma.toml with the line [authority], and name it: firma authority -c firma.toml")
	}
	return nil, fault.New("ConfigValidation", where+" has no [authority] section, which this command needs",
		"add a line [authority] to it (docs/authority.md lists its keys), or name another file with -c")
}

// OverrideAuthority takes FIRMA_AUTHORITY_<KEY> from the environment for each key
// of an [authority] table that is there. Relative paths are based on dir.
func (c *Config) OverrideAuthority(getenv func(string) string, dir string) error {
	if c.Authority == nil {
		return nil
	}
	d := &decoder{problems: problems{path: "the environment"}, dir: dir, places: map[string]place{}}
	v := reflect.ValueOf(c.Authority).Elem()
	for _, s := range settingsOf(v.Type()) {
		name := "FIRMA_AUTHORITY_" + strings.ToUpper(s.key)
		if text := getenv(name); text != "" {
			d.value(fromEnvironment(text, v.Field(s.index)), v.Field(s.index), s, name)
		}
	}
	c.Authority.check(d)
	return d.fault("ConfigValidation", "correct the variable, or unset it")
}

// fromEnvironment is what text stands for in a field of v's type.
func fromEnvironment(text string, v reflect.Value) *node {
	if v.Kind() == reflect.Bool {
		switch strings.ToLower(text) {
		case "1", "true", "yes", "on":
			return &node{value: true}
		case "0", "false", "no", "off":
			return &node{value: false}
		}
	}
	return &node{value: text}
}
