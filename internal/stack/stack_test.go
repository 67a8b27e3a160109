//go:build unix

package stack_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"firma/internal/fault"
	"firma/internal/marker"
	"firma/internal/stack"
)

// TestMain is the test, and every process that the stack starts: this binary with
// a role as its first argument. How it behaves the role's variable says.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "authority" || os.Args[1] == "sidecar") {
		os.Exit(act(os.Args[1], os.Args[2:]))
	}
	os.Exit(m.Run())
}

func act(role string, args []string) int {
	if role == "sidecar" && len(args) > 0 && args[0] == "start" { // detached: the supervisor itself
		return supervise(args)
	}
	report := os.NewFile(3, "report")
	behaviour := os.Getenv("TEST_" + strings.ToUpper(role))
	switch behaviour {
	case "dies":
		return 7
	case "fails":
		json.NewEncoder(report).Encode(stack.Failed(fault.New("SidecarListenFailed", "it is taken", "take another")))
		return 1
	case "nonsense":
		report.WriteString("\x00 not a report\n")
		return 0
	case "silent":
		select {}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 1
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	json.NewEncoder(report).Encode(stack.Report{Listen: ln.Addr().String(), Health: "health", PublicKey: []byte(strings.Join(args, " "))})
	report.Close()
	if behaviour == "stubborn" {
		signal.Ignore(syscall.SIGTERM)
		select {}
	}
	<-ended
	if f, err := os.OpenFile(filepath.Join(os.Getenv("TEST_DIR"), "ended"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
		fmt.Fprintln(f, role)
		f.Close()
	}
	return 0
}

// supervise is what `firma sidecar start --report-fd 3` does.
func supervise(args []string) int {
	if os.Getenv("TEST_SUPERVISOR") == "dies" {
		return 3
	}
	report := os.NewFile(3, "report")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	o := stack.Options{StateDir: os.Getenv("TEST_DIR"), Env: os.Environ(), Log: slog.New(slog.DiscardHandler),
		Ready: func(r stack.Report) { json.NewEncoder(report).Encode(r); report.Close() }}
	if err := stack.Run(ctx, o); err != nil {
		json.NewEncoder(report).Encode(stack.Failed(err))
		return 1
	}
	return 0
}

// options are of a stack whose services behave so; ready gets its report.
func options(t *testing.T, authority, sidecar string) (o stack.Options, ready chan stack.Report) {
	t.Helper()
	dir := t.TempDir()
	ready = make(chan stack.Report, 1)
	t.Cleanup(func() { stack.Stop(dir, 0) })
	return stack.Options{
		StateDir: dir, Authority: authority != "", Drain: time.Minute, Log: slog.New(slog.DiscardHandler),
		Env:   append(os.Environ(), "TEST_AUTHORITY="+authority, "TEST_SIDECAR="+sidecar, "TEST_DIR="+dir, "GORACE=atexit_sleep_ms=0"),
		Ready: func(r stack.Report) { ready <- r },
	}, ready
}

func ended(t *testing.T, o stack.Options) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(o.StateDir, "ended"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Fields(string(data))
}

// wantClean fails when files of a stack, or its processes, are left.
func wantClean(t *testing.T, o stack.Options) {
	t.Helper()
	for _, pattern := range []string{"*.pid", "*.listen"} {
		left, _ := filepath.Glob(filepath.Join(o.StateDir, pattern))
		if len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	}
}

// states are what Services says of each component.
func states(o stack.Options) map[string]marker.State {
	m := map[string]marker.State{}
	for _, s := range stack.Services(o.StateDir, time.Now()) {
		m[s.Component] = s.State
	}
	return m
}

// TestRun: the Authority is started first and named to the Sidecar, the Sidecar is
// ended first, and nothing is left.
func TestRun(t *testing.T) {
	o, ready := options(t, "serves", "serves")
	o.Config = "/some/firma.toml"
	ctx, stop := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- stack.Run(ctx, o) }()
	r := <-ready
	services := stack.Services(o.StateDir, time.Now())
	if len(services) != 3 {
		t.Fatalf("%+v", services)
	}
	for _, s := range services {
		if s.State != marker.Running || s.PID == nil {
			t.Errorf("%+v", s)
		}
	}
	args := string(r.PublicKey)
	authority := services[slices.IndexFunc(services, func(s stack.ServiceStatus) bool { return s.Component == "authority" })]
	if want := "--state-dir " + o.StateDir + " --report-fd 3 -c /some/firma.toml --authority-url http://" + authority.Listen; args != want {
		t.Errorf("the Sidecar was started with %q, want %q", args, want)
	}
	if err := stack.Run(ctx, o); fault.NameOf(err) != "StackRunning" || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("a second stack: %v", err)
	}
	stop()
	if err := <-over; err != nil {
		t.Error(err)
	}
	if got := ended(t, o); !slices.Equal(got, []string{"sidecar", "authority"}) {
		t.Errorf("ended %q", got)
	}
	wantClean(t, o)
}

// TestStartFails: whatever goes wrong is named, and nothing is left running.
func TestStartFails(t *testing.T) {
	for _, tt := range []struct{ name, authority, sidecar, want string }{
		{"no Sidecar", "", "dies", "SidecarLost"},
		{"it says why", "", "fails", "SidecarListenFailed"},
		{"it says nonsense", "", "nonsense", "SidecarLost"},
		{"no Authority", "dies", "serves", "AuthorityLost"},
		{"the Authority says why", "fails", "serves", "SidecarListenFailed"},
		{"the second does not start", "serves", "fails", "SidecarListenFailed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, ready := options(t, tt.authority, tt.sidecar)
			if err := stack.Run(context.Background(), o); fault.NameOf(err) != tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
			if len(ready) != 0 {
				t.Error("it was said to be ready")
			}
			if tt.authority == "serves" && !slices.Equal(ended(t, o), []string{"authority"}) {
				t.Errorf("ended %q", ended(t, o))
			}
			wantClean(t, o)
		})
	}
}

func TestStartIsInterrupted(t *testing.T) {
	o, _ := options(t, "", "silent")
	ctx, stop := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- stack.Run(ctx, o) }()
	stop()
	if err := <-over; fault.NameOf(err) != "Interrupted" {
		t.Error(err)
	}
	wantClean(t, o)
}

// TestOneDies: the stack ends with either of its services, and says which.
func TestOneDies(t *testing.T) {
	for role, want := range map[string]string{"authority": "AuthorityLost", "sidecar": "SidecarLost"} {
		o, ready := options(t, "serves", "serves")
		over := make(chan error, 1)
		go func() { over <- stack.Run(context.Background(), o) }()
		<-ready
		pid, _, err := marker.ReadPID(filepath.Join(o.StateDir, role+".pid"))
		if err != nil {
			t.Fatal(err)
		}
		syscall.Kill(pid, syscall.SIGKILL)
		if err := <-over; fault.NameOf(err) != want || !strings.Contains(err.Error(), "killed") {
			t.Errorf("%s: %v", role, err)
		}
		wantClean(t, o)
	}
}

// TestDetached: the stack lives on without whoever started it, and Stop ends it
// from outside, one that does not listen as well.
func TestDetached(t *testing.T) {
	for behaviour, patience := range map[string]time.Duration{"serves": time.Minute, "stubborn": 0} {
		t.Run(behaviour, func(t *testing.T) {
			o, _ := options(t, "", behaviour)
			r, err := stack.Detach(context.Background(), o.StateDir, o.Env, []string{"sidecar", "start"})
			if err != nil {
				t.Fatal(err)
			}
			if r.Listen == "" || states(o)["sidecar"] != marker.Running || states(o)["supervisor"] != marker.Running {
				t.Fatalf("%+v, %v", r, states(o))
			}
			done, err := stack.Stop(o.StateDir, patience)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(done, func(s stack.Stopped) bool { return s.Name == "sidecar" })
			if i < 0 || done[i].Killed != (behaviour == "stubborn") {
				t.Errorf("%+v", done)
			}
			if s := states(o)["sidecar"]; s != marker.Stopped {
				t.Errorf("it is %s afterwards", s)
			}
			wantClean(t, o)
			if again, err := stack.Stop(o.StateDir, 0); len(again) != 0 || err != nil {
				t.Errorf("stopped again: %+v, %v", again, err)
			}
		})
	}
}

func TestDetachFails(t *testing.T) {
	o, _ := options(t, "", "fails")
	if _, err := stack.Detach(context.Background(), o.StateDir, o.Env, []string{"sidecar", "start"}); fault.NameOf(err) != "SidecarListenFailed" {
		t.Error(err)
	}
	o, _ = options(t, "", "serves")
	_, err := stack.Detach(context.Background(), o.StateDir, append(o.Env, "TEST_SUPERVISOR=dies"), []string{"sidecar", "start"})
	if fault.NameOf(err) != "SidecarLost" || !strings.Contains(err.Error(), "exit status 3") {
		t.Error(err)
	}
	file := filepath.Join(o.StateDir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := stack.Detach(context.Background(), file, o.Env, []string{"sidecar", "start"}); fault.NameOf(err) != "StateDirNotWritable" {
		t.Error(err)
	}
	o.StateDir = file
	if err := stack.Run(context.Background(), o); fault.NameOf(err) != "StateDirNotWritable" {
		t.Error(err)
	}
}

// TestStopSparesOthers: a file that names a process which is none of ours, or that
// can't be read, ends nobody.
func TestStopSparesOthers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sidecar.pid")
	if err := marker.WritePID(path, os.Getpid()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// The number is that of a process, but of one that began at another time: it was
	// given to somebody else since.
	if err := os.WriteFile(path, []byte(strings.Replace(string(data), strconv.FormatUint(marker.Born(os.Getpid()), 10), "1", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if s := stack.Services(dir, time.Now()); len(s) != 1 || s[0].State != marker.Stopped || s[0].PID != nil {
		t.Errorf("%+v", s)
	}
	if done, err := stack.Stop(dir, 0); err != nil || len(done) != 0 {
		t.Errorf("%+v, %v", done, err)
	}
	for _, text := range []string{"", "-1 1\n", "1e3 1\n", strings.Repeat("9", 400), "1\x00 1"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s := stack.Services(dir, time.Now()); len(s) != 1 || s[0].State != marker.Unknown || s[0].PID != nil {
			t.Errorf("%q: %+v", text, s)
		}
		if _, err := stack.Stop(dir, 0); fault.NameOf(err) != "StackNotStopped" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestUnhealthy: a service that is there and accepts nothing.
func TestUnhealthy(t *testing.T) {
	dir := t.TempDir()
	if err := marker.WritePID(filepath.Join(dir, "sidecar.pid"), os.Getpid()); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	write := func(listen string) {
		if err := os.WriteFile(filepath.Join(dir, "sidecar.listen"), []byte(listen+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := func(state marker.State) {
		t.Helper()
		if s := stack.Services(dir, time.Now().Add(time.Minute)); len(s) != 1 || s[0].State != state || s[0].UptimeSecs < 59 {
			t.Errorf("%+v, want %s", s, state)
		}
	}
	for _, listen := range []string{"127.0.0.1:" + port, "0.0.0.0:" + port} {
		write(listen)
		want(marker.Running)
	}
	ln.Close()
	want(marker.Unhealthy)
	write(filepath.Join(dir, "none.sock"))
	want(marker.Unhealthy)
	write("")
	want(marker.Unhealthy)
}

// TestRuns: the runs of a state directory; a marker of one that is gone shows once.
func TestRuns(t *testing.T) {
	dir := t.TempDir()
	now := time.Now().UTC()
	live := marker.Run{SandboxID: "sbx_01h455vb4pex5vsknk084sn02q", AgentID: "a", SessionID: "s", PID: os.Getpid(),
		StartedAt: now.Add(-time.Hour).Format(time.RFC3339Nano)}
	gone := live
	dead := exec.Command(os.Args[0], "-test.run=^$")
	dead.Env = []string{"GORACE=atexit_sleep_ms=0"}
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	gone.SandboxID, gone.PID = "sbx_01h455vb4pex5vsknk084sn02r", dead.Process.Pid
	for _, r := range []marker.Run{live, gone} {
		if err := marker.Write(dir, r); err != nil {
			t.Fatal(err)
		}
	}
	runs, err := stack.Runs(dir, "", now)
	if err != nil || len(runs) != 2 {
		t.Fatalf("%+v, %v", runs, err)
	}
	for _, r := range runs {
		switch {
		case r.SandboxID == live.SandboxID && (r.State != marker.Running || r.PID == nil || r.UptimeSecs != 3600 || r.Listen != stack.RunListen):
			t.Errorf("%+v", r)
		case r.SandboxID == gone.SandboxID && (r.State != marker.Stopped || r.PID != nil || r.Listen != ""):
			t.Errorf("%+v", r)
		}
	}
	if runs, err := stack.Runs(dir, "", now); err != nil || len(runs) != 1 || runs[0].SandboxID != live.SandboxID {
		t.Errorf("%+v, %v", runs, err)
	}
	if runs, err := stack.Runs(dir, gone.SandboxID, now); err != nil || len(runs) != 0 {
		t.Errorf("%+v, %v", runs, err)
	}
}
