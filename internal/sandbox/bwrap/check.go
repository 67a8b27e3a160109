//go:build linux

package bwrap

import (
	"os"
	"os/exec"

	"firma/internal/fault"
)

const installFix = "install bubblewrap 0.8 or later: `apt-get install bubblewrap` (Debian, Ubuntu), `dnf install bubblewrap` (Fedora), `pacman -S bubblewrap` (Arch)"

// Find returns the path of a usable bwrap. It starts nothing: what only a launch
// can show (user namespaces, AppArmor) is explained when the launch fails.
func Find() (string, error) {
	path, err := Lookup()
	if err != nil {
		return "", err
	}
	return path, CheckMode(path)
}

// Lookup returns the bwrap that is on PATH.
func Lookup() (string, error) {
	path, err := exec.LookPath("bwrap")
	if err != nil {
		return "", fault.New("UnsupportedBackend", "the bwrap backend needs bubblewrap, and no bwrap is on PATH", installFix)
	}
	return path, nil
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
