package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"firma/internal/testkit/account"
	"firma/internal/testkit/world"
)

// host is a world in which commands may run with less than this machine has.
type host struct {
	*world.World
	wrap []string // before each command
	env  []string
	attr *syscall.SysProcAttr
}

func everyone(t *testing.T, story func(t *testing.T, h *host)) {
	t.Helper()
	all, err := account.All()
	must(t, err)
	for _, a := range all {
		t.Run(a.Name, func(t *testing.T) { story(t, &host{World: world.New(t, a)}) })
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type outcome struct {
	code           int
	stdout, stderr string
}

func (h *host) firma(t *testing.T, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	argv := append(append(append([]string{}, h.wrap...), h.Firma), args...)
	cmd := h.Prepare(ctx, world.Command{Args: argv, Env: h.env})
	if h.attr != nil {
		cmd.SysProcAttr = h.attr
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%q: %v", argv, err)
	}
	return outcome{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

func (h *host) run(t *testing.T) outcome {
	t.Helper()
	return h.firma(t, "run", "--authority", "local", "--quiet", "--", "sh", "-c", "echo EXECUTED")
}

// report is what firma doctor --json prints.
type report struct {
	Checks []struct {
		Code, Category, Status, Reason, Detail, Fix string
	} `json:"checks"`
	Worst    string `json:"worst"`
	ExitCode int    `json:"exit_code"`
}

func (h *host) doctor(t *testing.T) (report, outcome) {
	t.Helper()
	o := h.firma(t, "doctor", "--json")
	var r report
	if err := json.Unmarshal([]byte(o.stdout), &r); err != nil {
		t.Fatalf("doctor: %v\n%+v", err, o)
	}
	if r.ExitCode != o.code {
		t.Errorf("the report says exit code %d, and it was %d", r.ExitCode, o.code)
	}
	return r, o
}

var faultLine = regexp.MustCompile(`(?m)^firma: error: ([A-Za-z]+): `)

// wantEqual fails unless doctor and run both refuse with this fault and a fix.
func (h *host) wantEqual(t *testing.T, fault, fix string) {
	t.Helper()
	run := h.run(t)
	said := faultLine.FindStringSubmatch(run.stderr)
	if run.code != 125 || strings.Contains(run.stdout, "EXECUTED") || said == nil || said[1] != fault || !strings.Contains(run.stderr, fix) {
		t.Errorf("run: want %s with %q\n%+v", fault, fix, run)
	}
	r, _ := h.doctor(t)
	if r.ExitCode != 1 || r.Worst != "fail" {
		t.Errorf("doctor: exit code %d, worst %s", r.ExitCode, r.Worst)
	}
	for _, c := range r.Checks {
		if c.Status != "fail" {
			continue
		}
		if name, _, _ := strings.Cut(c.Reason, ":"); name != fault || !strings.Contains(c.Fix, fix) {
			t.Errorf("doctor: %s fails with %q, fix %q; run fails with %s, fix %q", c.Code, c.Reason, c.Fix, fault, fix)
		}
	}
}

// only puts programs of the given names, and no bwrap but fake, on PATH.
func (h *host) path(t *testing.T, fake string) {
	t.Helper()
	dir := filepath.Join(h.Base, "path")
	must(t, os.Mkdir(dir, 0o755))
	if fake != "" {
		must(t, os.WriteFile(filepath.Join(dir, "bwrap"), []byte("#!/bin/sh\n"+fake), 0o755))
	}
	h.env = append(h.env, "PATH="+dir)
}

func saying(text string) string { return "echo '" + text + "' >&2\nexit 1\n" }

func (h *host) state() string { return filepath.Join(h.State, "firma") }

// keep makes the state directory as the first run would.
func (h *host) keep(t *testing.T) {
	t.Helper()
	must(t, errors.Join(os.Mkdir(h.state(), 0o700), h.Account.Own(h.state())))
}

func TestFeaturesTakenAway(t *testing.T) {
	for _, c := range []struct {
		name  string
		take  func(t *testing.T, h *host)
		fault string
		fix   string
	}{
		{"no bwrap on PATH", func(t *testing.T, h *host) { h.path(t, "") }, "UnsupportedBackend", "install bubblewrap"},
		{"bwrap is setuid", func(t *testing.T, h *host) {
			h.path(t, saying("unused"))
			must(t, os.Chmod(filepath.Join(h.Base, "path", "bwrap"), 0o755|os.ModeSetuid))
		}, "UnsupportedBackend", "chmod u-s"},
		{"AppArmor takes the capabilities", func(t *testing.T, h *host) {
			h.path(t, saying("bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted"))
		}, "AppArmorRestrictsUserNamespaces", "profile bwrap /usr/bin/bwrap flags=(unconfined)"},
		{"uid map refused", func(t *testing.T, h *host) {
			h.path(t, saying("bwrap: setting up uid map: Permission denied"))
		}, "UserNamespacesUnavailable", "unprivileged_userns_clone=1"},
		{"bwrap too old", func(t *testing.T, h *host) {
			h.path(t, saying("bwrap: Unknown option --clearenv"))
		}, "UnsupportedBackend", "install bubblewrap"},
		{"bwrap that only fails", func(t *testing.T, h *host) { h.path(t, "exit 1\n") }, "SandboxSetupFailed", "firma doctor"},
		{"a filter refuses user namespaces", func(t *testing.T, h *host) {
			h.wrap = []string{poorer(t, h.World, "no-user-namespaces")}
		}, "UserNamespacesUnavailable", "seccomp"},
		{"a filter refuses filters", func(t *testing.T, h *host) {
			h.wrap = []string{poorer(t, h.World, "no-seccomp")}
		}, "SeccompUnavailable", "CONFIG_SECCOMP_FILTER"},
		{"a filter refuses netlink", func(t *testing.T, h *host) {
			h.wrap = []string{poorer(t, h.World, "no-netlink")}
		}, "SandboxSetupFailed", "firma doctor"},
		{"a filter refuses netfilter", func(t *testing.T, h *host) {
			h.wrap = []string{poorer(t, h.World, "no-netfilter")}
		}, "TransparentUnavailable", "transparent = false"},
		{"state directory writable for all", func(t *testing.T, h *host) {
			h.keep(t)
			must(t, os.Chmod(h.state(), 0o777))
		}, "StateDirInsecure", "chmod 700"},
		{"state directory that others may look into", func(t *testing.T, h *host) {
			h.keep(t)
			must(t, os.Chmod(h.state(), 0o755))
		}, "StateDirInsecure", "chmod 700"},
		{"state directory is a file", func(t *testing.T, h *host) {
			must(t, os.WriteFile(h.state(), nil, 0o600))
			must(t, h.Account.Own(h.state()))
		}, "StateDirNotWritable", "--state-dir"},
		{"syscall filter damaged", func(t *testing.T, h *host) {
			must(t, os.Truncate(h.artifact(t), 80))
		}, "SeccompArtifactTampered", "firma seccomp compile"},
		{"no compiled syscall filter", func(t *testing.T, h *host) {
			h.env = append(h.env, "FIRMA_RUN_MANAGED_SECCOMP_RUNTIME_MODE=precompiled_only")
		}, "SeccompArtifactMissing", "firma seccomp compile"},
		{"configuration broken", func(t *testing.T, h *host) {
			path := filepath.Join(h.Base, "firma.toml")
			must(t, os.WriteFile(path, []byte("[sidecar]\nno_such_key = 1\n"), 0o644))
			h.env = append(h.env, "FIRMA_CONFIG="+path)
		}, "ConfigValidation", "docs/configuration.md"},
		{"inside a sandbox of firma", func(t *testing.T, h *host) {
			h.env = append(h.env, "FIRMA_RUN_SANDBOX_ID=x")
		}, "ReservedSandboxIdEnvironment", "run it on the host"},
	} {
		t.Run(c.name, func(t *testing.T) {
			everyone(t, func(t *testing.T, h *host) {
				c.take(t, h)
				h.wantEqual(t, c.fault, c.fix)
			})
		})
	}
}

// artifact compiles the syscall filter and returns its path.
func (h *host) artifact(t *testing.T) string {
	t.Helper()
	o := h.firma(t, "seccomp", "compile")
	leaf, _, ok := strings.Cut(strings.TrimPrefix(o.stdout, "compiled "), ": ")
	if o.code != 0 || !ok {
		t.Fatalf("compile: %+v", o)
	}
	return filepath.Join(leaf, "policy.bpf")
}

// TestUserNamespaceLimit takes user namespaces away with the sysctl, which each
// user namespace has for itself. The control is the same namespace with its limit
// untouched.
func TestUserNamespaceLimit(t *testing.T) {
	everyone(t, func(t *testing.T, h *host) {
		h.attr = nested(h.World)
		if h.Account.Ordinary() {
			h.wrap = []string{poorer(t, h.World, "nested")}
			h.wantWorking(t)
			h.wrap = []string{poorer(t, h.World, "limit-zero")}
			h.wantEqual(t, "UserNamespacesUnavailable", "sudo sysctl -w user.max_user_namespaces=15000")
			return
		}
		// Root of a user namespace can't make device nodes, which comes first.
		h.wrap = []string{poorer(t, h.World, "limit-zero")}
		h.wantEqual(t, "SandboxSetupFailed", "run firma as an ordinary user")
	})
}

// TestReadOnlyState mounts the state directory read-only, which stops root too.
func TestReadOnlyState(t *testing.T) {
	everyone(t, func(t *testing.T, h *host) {
		if os.Geteuid() != 0 {
			h.keep(t)
			must(t, os.Chmod(h.state(), 0o500))
			h.wantEqual(t, "StateDirNotWritable", "--state-dir")
			return
		}
		h.keep(t)
		must(t, unix.Mount(h.state(), h.state(), "", unix.MS_BIND, ""))
		t.Cleanup(func() { must(t, unix.Unmount(h.state(), unix.MNT_DETACH)) })
		must(t, unix.Mount("", h.state(), "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		h.wantEqual(t, "StateDirNotWritable", "--state-dir")
	})
}

func (h *host) wantWorking(t *testing.T) {
	t.Helper()
	if o := h.run(t); o.code != 0 || !strings.Contains(o.stdout, "EXECUTED") {
		t.Errorf("run: %+v", o)
	}
	r, o := h.doctor(t)
	for _, c := range r.Checks {
		if c.Status == "fail" {
			t.Errorf("doctor: %s fails: %s", c.Code, c.Reason)
		}
	}
	if o.code != 0 {
		t.Errorf("doctor: status %d", o.code)
	}
}

// TestNothingTakenAway is the control: this machine as it is, before and after a
// first run, and through a wrapper that takes nothing.
func TestNothingTakenAway(t *testing.T) {
	everyone(t, func(t *testing.T, h *host) {
		h.wantWorking(t)
		h.wantWorking(t)
		h.wrap = []string{poorer(t, h.World, "nothing-missing")}
		h.wantWorking(t)
	})
}

// TestWithoutLandlock: what is only weaker is a warning of both, and both work.
func TestWithoutLandlock(t *testing.T) {
	everyone(t, func(t *testing.T, h *host) {
		h.wrap = []string{poorer(t, h.World, "no-landlock")}
		if o := h.run(t); o.code != 0 || !strings.Contains(o.stderr, "firma: warning: this kernel has no Landlock") {
			t.Errorf("run: %+v", o)
		}
		r, o := h.doctor(t)
		for _, c := range r.Checks {
			if c.Code == "landlock.available" && c.Status != "warn" {
				t.Errorf("landlock.available: %s", c.Status)
			}
		}
		if o.code != 0 || r.Worst != "warn" {
			t.Errorf("doctor: status %d, worst %s", o.code, r.Worst)
		}
	})
}

// TestNothingChanges: a doctor leaves no file, no process and no state behind.
func TestNothingChanges(t *testing.T) {
	everyone(t, func(t *testing.T, h *host) {
		if _, o := h.doctor(t); o.code != 0 {
			t.Fatalf("%+v", o)
		}
		for _, dir := range []string{h.State, h.Tmp, h.Home, h.Project, h.Runtime} {
			entries, err := os.ReadDir(dir)
			must(t, err)
			for _, e := range entries {
				if dir != h.Home || e.Name() != "project" {
					t.Errorf("left over: %s", filepath.Join(dir, e.Name()))
				}
			}
		}
	})
}

// TestCodes: the codes and categories are a contract.
func TestCodes(t *testing.T) {
	everyone(t, func(t *testing.T, h *host) {
		r, _ := h.doctor(t)
		var got []string
		for _, c := range r.Checks {
			got = append(got, c.Code+" / "+c.Category)
			if c.Status != "ok" && c.Status != "warn" && c.Status != "fail" {
				t.Errorf("%s has status %q", c.Code, c.Status)
			}
			if c.Reason == "" {
				t.Errorf("%s has no reason", c.Code)
			}
		}
		want := documented(t)
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("checks:\n%s\n\nin docs/doctor.md:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// documented are the rows of the table in docs/doctor.md.
func documented(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/doctor.md")
	must(t, err)
	var rows []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9.]+)` \\| ([a-z0-9 ]+) \\|").FindAllStringSubmatch(string(text), -1) {
		rows = append(rows, m[1]+" / "+m[2])
	}
	return rows
}

func TestText(t *testing.T) {
	everyone(t, func(t *testing.T, h *host) {
		if o := h.firma(t, "doctor"); o.code != 0 || !strings.Contains(o.stdout, "PASS  netns.loopback") || !strings.Contains(o.stdout, "firma run works here") {
			t.Errorf("%+v", o)
		}
		h.path(t, saying("bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted"))
		o := h.firma(t, "doctor")
		fix := strings.ReplaceAll(o.stdout, "\n      ", "\n")
		if o.code != 1 || !strings.Contains(o.stdout, "FAIL  ") || !strings.Contains(o.stdout, "firma run does not work here") ||
			!strings.Contains(fix, "abi <abi/4.0>,\n    include <tunables/global>\n    profile bwrap /usr/bin/bwrap flags=(unconfined) {") {
			t.Errorf("%+v", o)
		}
		if strings.Count(o.stdout, "abi/4.0") != 1 {
			t.Error("the fix is printed more than once")
		}
		if o := h.firma(t, "doctor", "--timeout-ms", "0"); o.code != 2 {
			t.Errorf("%+v", o)
		}
	})
}
