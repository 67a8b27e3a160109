//go:build linux

package bwrap

import (
	"os"
	"os/exec"
	"path/filepath"

	"firma/internal/fault"
)

const installFix = "install bubblewrap 0.8 or later: `apt-get install bubblewrap` (Debian, Ubuntu), `dnf install bubblewrap` (Fedora), `pacman -S bubblewrap` (Arch)"

// Find returns the path of a usable bwrap. It starts nothing: what only a launch
// can show (user namespaces, AppArmor) is explained when the launch fails.
func Find() (string, error) { return FindOn(os.Getenv("PATH")) }

// FindOn is Find on another PATH than this process's.
func FindOn(path string) (string, error) {
	found, err := lookup(path)
	if err != nil {
		return "", err
	}
	return found, CheckMode(found)
}

// Lookup returns the bwrap that is on PATH.
func Lookup() (string, error) { return lookup(os.Getenv("PATH")) }

// lookup skips relative entries: they mean the current directory, where an agent
// or a cloned repository may have planted anything.
func lookup(path string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		if found, err := exec.LookPath(filepath.Join(dir, "bwrap")); err == nil {
			return found, nil
		}
	}
	return "", fault.New("UnsupportedBackend", "the bwrap backend needs bubblewrap, and no bwrap is on PATH", installFix)
}

// CheckMode refuses a bwrap that is setuid.
func CheckMode(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return fault.Wrap(err, "UnsupportedBackend", "bwrap can't be inspected", installFix)
	}
	if st.Mode()&os.ModeSetuid != 0 {
		return fault.New("UnsupportedBackend",
			path+" is setuid root, so its sandboxes belong to root and the Sidecar could not serve their low ports",
			"use the distribution's ordinary bwrap, or remove the bit: `sudo chmod u-s "+path+"`")
	}
	return nil
}
