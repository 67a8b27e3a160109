package bwrap

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"firma/internal/control"
	"firma/internal/fault"
	"firma/internal/profile"
	"firma/internal/sandbox"
	"firma/internal/sandbox/seccomp"
	"firma/internal/sandbox/stub"
)

// The test binary plays the stub, as the firma binary does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == stub.Arg {
		os.Exit(stub.Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

type result struct {
	out, errs string
	exit      Exit
	err       error
}

// inside runs argv in a real sandbox with the generic profile.
func inside(t *testing.T, argv ...string) result {
	t.Helper()
	path, err := Find()
	if err != nil {
		t.Fatalf("this test needs bubblewrap: %v", err)
	}
	view, err := profile.Resolve(profile.Generic, profile.Host{Dir: t.TempDir(), Home: "/nonexistent", Env: os.Environ(), Command: argv[0]})
	if err != nil {
		t.Fatal(err)
	}
	if view.Spec.Seccomp, err = seccomp.Compile(); err != nil {
		t.Fatal(err)
	}
	in, _, _ := os.Pipe()
	outR, outW, _ := os.Pipe()
	errR, errW, _ := os.Pipe()
	p, err := Start(path, &view.Spec, Stdio{In: in, Out: outW, Err: errW})
	if err != nil {
		t.Fatal(err)
	}
	outW.Close()
	errW.Close()
	socks, err := p.Sockets()
	if err != nil {
		t.Fatal(err)
	}
	socks.Close()
	var r result
	r.err = p.Exec(control.Exec{Argv: argv, Env: view.Env, Dir: view.Dir, RequireLandlock: true})
	if r.err != nil {
		p.Kill()
	}
	out, _ := io.ReadAll(outR)
	errs, _ := io.ReadAll(errR)
	r.exit = p.Wait(context.Background())
	r.out, r.errs = string(out), string(errs)
	return r
}

func TestExitCodes(t *testing.T) {
	for script, want := range map[string]int{
		"exit 0":           0,
		"exit 7":           7,
		"kill -TERM $$":    143,
		"kill -KILL $$":    137,
		"sleep 100 & exit": 0, // nothing outlives the agent
	} {
		if r := inside(t, "/bin/sh", "-c", script); r.exit.Code != want || r.exit.Lost || r.err != nil {
			t.Errorf("%q: exit %+v, err %v, want %d", script, r.exit, r.err, want)
		}
	}
}

func TestCommandThatCannotRun(t *testing.T) {
	for name, want := range map[string]string{
		"no-such-command-here": "CommandNotFound",
		"/usr":                 "CommandNotExecutable",
		"/etc/passwd":          "CommandNotExecutable",
		"/nowhere/x":           "CommandNotFound",
	} {
		if r := inside(t, name); !errors.Is(r.err, &fault.Error{Name: want}) {
			t.Errorf("%s: %v, want %s", name, r.err, want)
		}
	}
}

// TestPosture reads the rights a process inside really has.
func TestPosture(t *testing.T) {
	r := inside(t, "/bin/sh", "-c", `
		grep -E '^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\t ' | tr '\n' ' '
		echo; ls /proc/self/fd | tr '\n' ' '
		echo; cat /proc/net/dev | grep -c :
		cat /proc/1/environ && echo ENVIRON
		readlink /proc/1/fd/0 /proc/1/fd/1 && echo FDS
		id -u; id -un; hostname 2>/dev/null || cat /proc/sys/kernel/hostname
		echo x > /proc/sys/kernel/hostname && echo WROTE-SYS
		chmod 666 /dev/null 2>/dev/null && stat -c %u /dev/null
		echo ok > /dev/null && echo devnull
		touch /new 2>/dev/null && echo WROTE-ROOT
		touch /tmp/a ~/b /run/c && echo private
	`)
	want := []string{
		"CapInh:0000000000000000 CapPrm:0000000000000000 CapEff:0000000000000000 CapBnd:0000000000000000 CapAmb:0000000000000000 NoNewPrivs:1 Seccomp:2",
		"0 1 2 3", // 3 is ls reading the directory
		"1",       // lo
		"1000", "agent", "firma", "devnull", "private",
	}
	var got []string
	for _, line := range strings.Split(strings.TrimSpace(r.out), "\n") {
		got = append(got, strings.TrimSpace(line))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("inside:\n%s\nwant:\n%s\nstderr: %s", strings.Join(got, "\n"), strings.Join(want, "\n"), r.errs)
	}
}

// TestNoWayThroughPidOne: pid 1 is bwrap, without the seccomp filter, so the
// agent must not be able to drive it.
func TestNoWayThroughPidOne(t *testing.T) {
	r := inside(t, "/bin/sh", "-c", "exec 3<>/proc/1/mem && echo OPENED; ls /proc/1/root >/dev/null && echo ROOT")
	if strings.Contains(r.out, "OPENED") || strings.Contains(r.out, "ROOT") {
		t.Errorf("pid 1 is reachable: %q %q", r.out, r.errs)
	}
}

// TestExchangedMountIsNoLaunch: a source that becomes another directory between
// the check and the mount.
func TestExchangedMountIsNoLaunch(t *testing.T) {
	path, err := Find()
	if err != nil {
		t.Fatalf("this test needs bubblewrap: %v", err)
	}
	dir := t.TempDir()
	view, err := profile.Resolve(profile.Generic, profile.Host{Dir: dir, Home: "/nonexistent", Env: os.Environ(), Command: "sh"})
	if err != nil {
		t.Fatal(err)
	}
	if view.Spec.Seccomp, err = seccomp.Compile(); err != nil {
		t.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	p, err := Start(path, &view.Spec, Stdio{In: null, Out: null, Err: null})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Wait(context.Background())
	defer p.Kill()
	socks, err := p.Sockets()
	if err != nil {
		t.Fatal(err)
	}
	socks.Close()
	for i := range p.pins {
		if p.pins[i].Path == dir {
			p.pins[i].Ino++ // as if what was checked had been another directory
		}
	}
	err = p.Exec(control.Exec{Argv: []string{"/bin/true"}, Env: view.Env, Dir: view.Dir})
	if !errors.Is(err, &fault.Error{Name: "SandboxSetupFailed"}) || !strings.Contains(err.Error(), dir) {
		t.Errorf("launched over an exchanged mount: %v", err)
	}
	if err := os.Symlink(dir, dir+"-link"); err != nil {
		t.Fatal(err)
	}
	view.Spec.Mounts = append(view.Spec.Mounts, sandbox.Mount{Source: dir + "-link", Target: "/mnt"})
	if _, err := Start(path, &view.Spec, Stdio{In: null, Out: null, Err: null}); !errors.Is(err, &fault.Error{Name: "SandboxSetupFailed"}) {
		t.Errorf("a link as a source: %v", err)
	}
}
