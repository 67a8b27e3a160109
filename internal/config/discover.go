package config

import (
	"errors"
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
	Getenv   func(string) string
}

// Discover loads the configuration: --config, then $FIRMA_CONFIG, then the
// user's file, then the system's. No file is not an error: the zero Config is
// returned. A file that exists and can't be used never falls through to the next.
//
// A .firma/firma.toml at or above the working directory may have been planted by
// whoever wrote the repository, so it is refused until trusted explicitly.
func Discover(w Where) (*Config, error) {
	for _, p := range []string{w.Explicit, w.Getenv("FIRMA_CONFIG")} {
		if p != "" {
			return Load(p)
		}
	}
	if p := walkUp(w.Dir); p != "" {
		return nil, fault.New("ConfigNotTrusted", p+" lies in the project, where the agent or a cloned repository could have put it",
			"read it, then pass it explicitly: firma run --config "+p+" …; or remove it")
	}
	for _, p := range userFiles(w) {
		if _, err := os.Lstat(p); err == nil {
			return Load(p)
		} else if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrPermission) {
			return nil, fault.Wrap(err, "ConfigParse", p+" can't be inspected", "check its permissions")
		}
	}
	return &Config{}, nil
}

func walkUp(dir string) string {
	for d := dir; ; d = filepath.Dir(d) {
		p := filepath.Join(d, ".firma", "firma.toml")
		if _, err := os.Lstat(p); err == nil {
			return p
		}
		if d == filepath.Dir(d) {
			return ""
		}
	}
}

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

// StateDir is where audit logs, keys and caches live: --state-dir, then
// $FIRMA_STATE_DIR, then the XDG state directory.
func StateDir(w Where, explicit string) (string, error) {
	for _, p := range []string{explicit, w.Getenv("FIRMA_STATE_DIR")} {
		if p != "" {
			return filepath.Abs(p)
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
