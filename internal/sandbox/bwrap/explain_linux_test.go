package bwrap

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firma/internal/fault"
)

// TestExplain: what bwrap (0.8) says, and what that means on which host.
func TestExplain(t *testing.T) {
	none := Host{}
	for _, c := range []struct {
		stderr string
		host   Host
		name   string
		fix    string // part of it
	}{
		{"bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted\n", Host{AppArmor: "1"}, "AppArmorRestrictsUserNamespaces", "profile bwrap /usr/bin/bwrap flags=(unconfined)"},
		{"bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted", none, "AppArmorRestrictsUserNamespaces", "apparmor_parser -r /etc/apparmor.d/bwrap"},
		{"bwrap: setting up uid map: Permission denied", none, "UserNamespacesUnavailable", "kernel.unprivileged_userns_clone=1"},
		{"bwrap: setting up uid map: Permission denied", Host{UnprivilegedClone: "0"}, "UserNamespacesUnavailable", "sudo sysctl -w kernel.unprivileged_userns_clone=1"},
		{"bwrap: setting up uid map: Permission denied", Host{AppArmor: "1"}, "AppArmorRestrictsUserNamespaces", "apparmor_parser"},
		{"bwrap: setting up uid map: Permission denied", Host{AppArmor: "0"}, "UserNamespacesUnavailable", "max_user_namespaces"},
		{"bwrap: Creating new namespace failed: nesting depth or /proc/sys/user/max_*_namespaces exceeded (ENOSPC)", Host{Limits: map[string]string{"user": "0"}}, "UserNamespacesUnavailable", "sudo sysctl -w user.max_user_namespaces=15000"},
		{"bwrap: Creating new namespace failed: nesting depth or /proc/sys/user/max_*_namespaces exceeded (ENOSPC)", Host{Limits: map[string]string{"user": "100", "net": "0"}}, "UserNamespacesUnavailable", "sudo sysctl -w user.max_net_namespaces=15000"},
		{"bwrap: No permissions to creating new namespace, likely because the kernel does not allow non-privileged user namespaces. On e.g. debian this can be enabled with 'sysctl kernel.unprivileged_userns_clone=1'.", none, "UserNamespacesUnavailable", "seccomp=unconfined"},
		{"bwrap: Creating new namespace failed: Operation not permitted", none, "UserNamespacesUnavailable", "seccomp profile"},
		{"bwrap: Unable to set up system call filtering as requested: prctl(PR_SET_SECCOMP) reported EINVAL.", none, "SeccompUnavailable", "CONFIG_SECCOMP_FILTER"},
		{"bwrap: prctl(PR_SET_SECCOMP): Operation not permitted", none, "SeccompUnavailable", "container"},
		{"bwrap: Unknown option --clearenv", none, "UnsupportedBackend", "install bubblewrap"},
		{"bwrap: Can't mount proc on /newroot/proc: Operation not permitted", none, "SandboxSetupFailed", "systempaths=unconfined"},
		{"bwrap: Can't find source path /x: No such file or directory", none, "SandboxSetupFailed", "firma doctor"},
		{"", none, "SandboxSetupFailed", "firma doctor"},
	} {
		f := Explain(c.stderr, c.host)
		if f.Name != c.name || !strings.Contains(f.Fix, c.fix) || !strings.Contains(f.Text, strings.TrimSpace(c.stderr)) || f.Text == "" {
			t.Errorf("%q on %+v:\n%s\nfix: %s\nwant %s with %q", c.stderr, c.host, f, f.Fix, c.name, c.fix)
		}
	}
}

// fakeBwrap is a bwrap that only says something.
func fakeBwrap(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bwrap")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestProbe(t *testing.T) {
	path, err := Find()
	if err != nil {
		t.Fatalf("this test needs bubblewrap: %v", err)
	}
	for _, options := range [][]string{{}, {"--unshare-user", "--uid", "1000", "--gid", "1000"}, {"--unshare-user", "--unshare-net"}, {"--unshare-user", "--unshare-pid", "--proc", "/proc"}} {
		if err := Probe(context.Background(), path, options...); err != nil {
			t.Errorf("%q: %v", options, err)
		}
	}
	fake := fakeBwrap(t, "echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1\n")
	if err := Probe(context.Background(), fake); fault.NameOf(err) != "UserNamespacesUnavailable" {
		t.Errorf("a bwrap that fails: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Probe(ctx, path); fault.NameOf(err) != "SandboxSetupFailed" {
		t.Errorf("a probe that is cut short: %v", err)
	}
}

func TestSetuidIsRefused(t *testing.T) {
	path := fakeBwrap(t, "")
	if err := os.Chmod(path, 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Dir(path))
	if _, err := Find(); fault.NameOf(err) != "UnsupportedBackend" || !strings.Contains(err.Error(), "setuid") {
		t.Errorf("got %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := Find(); fault.NameOf(err) != "UnsupportedBackend" || !strings.Contains(err.Error(), "PATH") {
		t.Errorf("got %v", err)
	}
}
