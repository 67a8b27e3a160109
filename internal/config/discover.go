package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"firma/internal/fault"
)

// Where describes the place a search starts from.
type Where struct {
	Explicit string // --config
	Dir      string // working directory
	Home     string
	State    string // --state-dir
	Getenv   func(string) string
}

// The sources of a configuration, as they are logged.
const (
	SourceFlag    = "--config"
	SourceEnv     = "FIRMA_CONFIG"
	SourceProject = "project"
	SourceUser    = "user"
	SourceSystem  = "system"
)

// Discover loads the configuration: --config, then $FIRMA_CONFIG, then the
// nearest .firma/firma.toml at or above the working directory if it is trusted,
// then the user's file, then the system's. No file is not an error: the zero
// Config is returned. A file that exists and can't be used never falls through to
// the next.
//
// A file of profiles and defaults only, which --config takes, is laid over the
// configuration that is found without it.
func Discover(w Where) (*Config, error) {
	if w.Explicit == "" {
		return discover(w)
	}
	c, err := Load(w.Explicit)
	if err != nil {
		return nil, err
	}
	c.Source = SourceFlag
	if c.overrides == nil {
		return c, nil
	}
	under, err := discover(w)
	if err != nil {
		return nil, err
	}
	under.overrides, under.overridesPath = c.overrides, c.overridesPath
	return under, nil
}

func discover(w Where) (*Config, error) {
	if p := w.Getenv("FIRMA_CONFIG"); p != "" {
		return sourced(SourceEnv)(Load(p))
	}
	if p := walkUp(w.Dir); p != "" {
		return sourced(SourceProject)(loadTrusted(w, p))
	}
	for i, p := range userFiles(w) {
		source := SourceUser
		if i == len(userFiles(w))-1 {
			source = SourceSystem
		}
		if _, err := os.Lstat(p); err == nil {
			return sourced(source)(loadOwn(p))
		} else if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrPermission) {
			return nil, fault.Wrap(err, "ConfigParse", p+" can't be inspected", "check its permissions")
		}
	}
	return &Config{}, nil
}

// sourced notes where a whole configuration came from. Only --config takes a file
// of profiles.
func sourced(source string) func(*Config, error) (*Config, error) {
	return func(c *Config, err error) (*Config, error) {
		if err != nil {
			return nil, err
		}
		if c.overrides != nil {
			return nil, fault.New("ConfigValidation", c.Path+" holds only profiles and defaults", "write them below [run], or pass the file with --config")
		}
		c.Source = source
		return c, nil
	}
}

// loadOwn loads a file that only this user or root may have written.
func loadOwn(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(err, "ConfigParse", "the configuration "+path+" can't be read", "check its owner and mode")
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil {
		err = onlyOurs(info)
	}
	if err != nil {
		return nil, fault.Wrap(err, "ConfigNotTrusted", path+" may have been written by somebody else", fmt.Sprintf("run `chmod go-w %s`, make it yours, or pass it with --config", path))
	}
	data, err := readAll(f)
	if err != nil {
		return nil, fault.Wrap(err, "ConfigParse", "the configuration "+path+" can't be read", "check the disk")
	}
	return load(path, data)
}

func walkUp(dir string) string {
	if dir == "" {
		return ""
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	for d := dir; ; d = filepath.Dir(d) {
		p := filepath.Join(d, projectFile)
		if _, err := os.Lstat(p); err == nil {
			return p
		}
		if d == filepath.Dir(d) {
			return ""
		}
	}
}

// projectFile is where a project keeps its configuration.
var projectFile = filepath.Join(".firma", "firma.toml")

// UserFile is where this user's configuration lies, and where a persisted choice
// is written.
func UserFile(w Where) string { return userFiles(w)[0] }

func userFiles(w Where) []string {
	if runtime.GOOS == "windows" {
		return []string{filepath.Join(w.Home, ".firma", "firma.toml"), filepath.Join(w.Getenv("PROGRAMDATA"), "firma", "firma.toml")}
	}
	var files []string
	if x := w.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(x) {
		files = append(files, filepath.Join(x, "firma", "firma.toml"))
	}
	return append(files, filepath.Join(w.Home, ".config", "firma", "firma.toml"), "/etc/firma/firma.toml")
}

// absolute resolves what was named on the command line or in the environment.
func absolute(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fault.Wrap(err, "WorkspaceForbidden", "the working directory is gone, and "+path+" is relative to it", "cd into an existing directory, or write an absolute path")
	}
	return abs, nil
}

// StateDir is where audit logs, keys and caches live: --state-dir, then
// $FIRMA_STATE_DIR, then the XDG state directory.
func StateDir(w Where, explicit string) (string, error) {
	for _, p := range []string{explicit, w.State, w.Getenv("FIRMA_STATE_DIR")} {
		if p != "" {
			return absolute(p)
		}
	}
	if x := w.Getenv("XDG_STATE_HOME"); filepath.IsAbs(x) {
		return filepath.Join(x, "firma"), nil
	}
	if w.Home == "" {
		return "", fault.New("StateDirUnknown", "there is no home directory to keep audit logs in", "set HOME, FIRMA_STATE_DIR or --state-dir")
	}
	if runtime.GOOS == "windows" {
		return filepath.Join(w.Home, "AppData", "Local", "firma", "state"), nil
	}
	return filepath.Join(w.Home, ".local", "state", "firma"), nil
}
