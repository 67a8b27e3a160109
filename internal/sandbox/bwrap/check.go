//go:build linux

package bwrap

import (
	"os"
	"os/exec"
	"strings"

	"firma/internal/fault"
)

const installFix = "install bubblewrap 0.8 or later: `apt-get install bubblewrap` (Debian, Ubuntu), `dnf install bubblewrap` (Fedora), `pacman -S bubblewrap` (Arch)"

// Find returns the path of a usable bwrap. It starts nothing: what only a launch
// can show (user namespaces, AppArmor) is explained when the launch fails.
func Find() (string, error) {
	path, err := exec.LookPath("bwrap")
	if err != nil {
		return "", fault.New("UnsupportedBackend", "the bwrap backend needs bubblewrap, and no bwrap is on PATH", installFix)
	}
	st, err := os.Stat(path)
	if err != nil {
		return "", fault.Wrap(err, "UnsupportedBackend", "bwrap can't be inspected", installFix)
	}
	if st.Mode()&os.ModeSetuid != 0 {
		return "", fault.New("UnsupportedBackend",
			path+" is setuid root, so its sandboxes belong to root and the Sidecar could not serve their low ports",
			"use the distribution's ordinary bwrap, or remove the bit: `sudo chmod u-s "+path+"`")
	}
	return path, nil
}

const appArmorFix = `let bwrap keep its capabilities inside the namespace. Create /etc/apparmor.d/bwrap:

    abi <abi/4.0>,
    include <tunables/global>
    profile bwrap /usr/bin/bwrap flags=(unconfined) {
      userns,
      include if exists <local/bwrap>
    }

then ` + "`sudo apparmor_parser -r /etc/apparmor.d/bwrap`" + `. (On a single-user development host, instead: ` +
	"`sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`)"

// explain turns what bwrap wrote before it died into a fault with the fix.
func explain(stderr string) error {
	stderr = strings.TrimSpace(stderr)
	switch {
	case strings.Contains(stderr, "RTM_NEWADDR"):
		return fault.New("AppArmorRestrictsUserNamespaces",
			stderr+": AppArmor strips bwrap's capabilities in its user namespace (kernel.apparmor_restrict_unprivileged_userns)",
			appArmorFix)
	case strings.Contains(stderr, "uid map"), strings.Contains(stderr, "No permissions to create new namespace"),
		strings.Contains(stderr, "Creating new namespace failed"), strings.Contains(stderr, "creating new namespace"):
		return fault.New("UserNamespacesUnavailable",
			stderr+": this kernel or container does not let you create user namespaces",
			"enable them: `sudo sysctl -w kernel.unprivileged_userns_clone=1` (Debian), `sudo sysctl -w user.max_user_namespaces=15000`; in a container, run it with a seccomp profile that allows unshare; or choose another --backend")
	case strings.Contains(stderr, "Unknown option"):
		return fault.New("UnsupportedBackend", stderr+": this bwrap is too old", installFix)
	case stderr == "":
		stderr = "bwrap ended without a message"
	}
	return fault.New("SandboxSetupFailed", stderr, "run the same command with --log-filter debug and compare with docs/status.md; a path in the message that is missing on this host can be left out of the profile")
}
