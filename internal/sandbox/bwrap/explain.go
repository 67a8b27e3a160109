//go:build linux

package bwrap

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"firma/internal/fault"
)

// Host is what this host's kernel allows of user namespaces: the values of its
// settings, "" for one that it does not have.
type Host struct {
	Limits            map[string]string // user.max_*_namespaces, by the part between
	UnprivilegedClone string            // kernel.unprivileged_userns_clone (Debian)
	AppArmor          string            // kernel.apparmor_restrict_unprivileged_userns (Ubuntu)
}

// ReadHost reads the settings.
func ReadHost() Host {
	h := Host{Limits: map[string]string{}}
	for _, kind := range namespaceKinds {
		h.Limits[kind] = setting("user/max_" + kind + "_namespaces")
	}
	h.UnprivilegedClone = setting("kernel/unprivileged_userns_clone")
	h.AppArmor = setting("kernel/apparmor_restrict_unprivileged_userns")
	return h
}

var namespaceKinds = []string{"user", "mnt", "pid", "ipc", "uts", "cgroup", "net"}

func setting(name string) string {
	b, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// AppArmorFix is the guide's remedy where AppArmor restricts user namespaces.
const AppArmorFix = `let bwrap keep its capabilities inside the namespace. Create /etc/apparmor.d/bwrap:

    abi <abi/4.0>,
    include <tunables/global>
    profile bwrap /usr/bin/bwrap flags=(unconfined) {
      userns,
      include if exists <local/bwrap>
    }

then ` + "`sudo apparmor_parser -r /etc/apparmor.d/bwrap`" + `. (On a single-user development host, instead: ` +
	"`sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`)"

// Explain turns what bwrap wrote before it ended into a fault with the fix for
// this host. It is the one place that decides what a failed sandbox means: firma
// run and firma doctor both report what it returns.
func Explain(stderr string, h Host) *fault.Error {
	said := strings.TrimSpace(stderr)
	has := func(part string) bool { return strings.Contains(said, part) }
	switch {
	case has("RTM_NEWADDR"), has("RTM_NEWLINK"), has("uid map") && h.AppArmor == "1":
		return appArmor(said, h)
	case has("uid map"), has("gid map"), has("reating new namespace"), has("No permissions to create new namespace"):
		return noNamespaces(said, h)
	case has("system call filter"), has("PR_SET_SECCOMP"), has("seccomp data"):
		return fault.New("SeccompUnavailable", said+": the syscall filter can't be loaded here",
			"use a kernel with CONFIG_SECCOMP_FILTER; in a container, one that lets processes add a seccomp filter")
	case has("Unknown option"):
		return fault.New("UnsupportedBackend", said+": this bwrap is too old", installFix)
	case has("mount proc"):
		return fault.New("SandboxSetupFailed", said+": this container hides parts of /proc, so the kernel refuses a new one",
			"run the container without masked paths (docker: `--security-opt systempaths=unconfined`; Kubernetes: procMount: Unmasked), or firma on the host")
	case said == "":
		said = "bwrap ended without a message"
	}
	return fault.New("SandboxSetupFailed", said, "run `firma doctor`, which tries each part of the sandbox alone; a path in the message that is missing on this host can be left out of the profile")
}

func appArmor(said string, h Host) *fault.Error {
	why := ": AppArmor strips bwrap's capabilities in its user namespace (kernel.apparmor_restrict_unprivileged_userns = 1)"
	if h.AppArmor != "1" {
		why = ": bwrap has no capabilities in its user namespace, as where AppArmor restricts it (kernel.apparmor_restrict_unprivileged_userns, which is not set here: another security module or a container may do the same)"
	}
	return fault.New("AppArmorRestrictsUserNamespaces", said+why, AppArmorFix)
}

func noNamespaces(said string, h Host) *fault.Error {
	var off, fixes []string
	for _, kind := range namespaceKinds {
		if h.Limits[kind] == "0" {
			off = append(off, fmt.Sprintf("user.max_%s_namespaces = 0", kind))
			fixes = append(fixes, fmt.Sprintf("`sudo sysctl -w user.max_%s_namespaces=15000`", kind))
		}
	}
	if h.UnprivilegedClone == "0" {
		off = append(off, "kernel.unprivileged_userns_clone = 0")
		fixes = append(fixes, "`sudo sysctl -w kernel.unprivileged_userns_clone=1`")
	}
	if len(off) == 0 {
		return fault.New("UserNamespacesUnavailable", said+": this kernel or container does not let you create user namespaces",
			"in a container, run it with a seccomp profile that allows unshare and clone of namespaces (docker: `--security-opt seccomp=unconfined`); otherwise enable them: `sudo sysctl -w kernel.unprivileged_userns_clone=1` (Debian), `sudo sysctl -w user.max_user_namespaces=15000`; or choose another --backend")
	}
	return fault.New("UserNamespacesUnavailable", said+": this kernel does not let you create them ("+strings.Join(off, ", ")+")",
		strings.Join(slices.Compact(fixes), " and ")+"; or choose another --backend")
}
