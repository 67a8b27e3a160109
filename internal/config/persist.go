package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"firma/internal/fault"
)

// PersistPath is the file that PersistAuthority writes: the configuration in use,
// or the user's own when there is none.
func (c *Config) PersistPath(w Where) string {
	if c.Path != "" {
		return c.Path
	}
	return UserFile(w)
}

// PersistAuthority keeps the choice of a local Mini Authority: it adds an
// [authority] table to the configuration in use, or makes the user's own. Trust in
// a project's file is renewed, since the user has just been asked.
func (c *Config) PersistAuthority(w Where) error {
	path := c.PersistPath(w)
	if err := addAuthority(path); err != nil {
		return fault.Wrap(err, "ConfigNotWritable", "the choice could not be kept in "+path, "pass --authority local instead")
	}
	if c.Source != SourceProject {
		return nil
	}
	_, _, err := Trust(w, path)
	return err
}

func addAuthority(path string) error {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if c, err := Parse(path, old); err == nil && c.Authority != nil {
		return nil
	}
	add := "\n# firma run starts a local Mini Authority for each run.\n[authority]\n"
	if isYAML(path) {
		add = "\n# firma run starts a local Mini Authority for each run.\nauthority: {}\n"
	}
	if len(old) == 0 {
		add = strings.TrimPrefix(add, "\n")
	}
	c, err := Parse(path, append(old, add...))
	if err != nil {
		return err
	}
	if c.Authority == nil {
		return errors.New("the file is written in a way that firma can't add to")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(add)
	return errors.Join(err, f.Close())
}

// UseTemplate takes the [sidecar] table from another file, which --sidecar-config
// or FIRMA_SIDECAR_CONFIG_FILE names. Its relative paths are based on its own
// directory.
func (c *Config) UseTemplate(path string) error {
	t, err := Load(path)
	if err != nil {
		return err
	}
	if !t.hasSidecar {
		return missingSidecar(t.Path)
	}
	c.Sidecar, c.template = t.Sidecar, t.Path
	return nil
}

// RequireSidecar refuses a configuration without a [sidecar] table, for commands
// that need one.
func (c *Config) RequireSidecar() error {
	switch {
	case c.hasSidecar:
		return nil
	case c.Path == "":
		return fault.New("ConfigValidation", "there is no configuration with a [sidecar] section",
			"write one, say firma.toml with the line [sidecar], and name it: firma sidecar -c firma.toml")
	}
	return missingSidecar(c.Path)
}

func missingSidecar(path string) error {
	return fault.New("ConfigValidation", path+" has no [sidecar] section, which is needed here", "add one, or name another file")
}

// Files are the configuration's own files and those it names, absolute: an agent
// sees none of them.
func (c *Config) Files() []string {
	var out []string
	for _, p := range []string{c.Path, c.template, c.overridesPath} {
		if p != "" {
			out = append(out, p)
		}
	}
	if out == nil {
		return nil // on the way of every run without a configuration
	}
	eachPath(c, func(s settingOf, path string) { out = append(out, path) })
	return out
}
