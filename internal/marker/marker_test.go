//go:build unix

package marker_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"firma/internal/ids"
	"firma/internal/marker"
)

func run(pid int) marker.Run {
	return marker.Run{SandboxID: ids.New(ids.Sandbox), AgentID: "local-dev", SessionID: "s-1", AuthorityURL: "http://[::1]:1",
		PolicyBundleVersion: "00c0ffee", PID: pid, StartedAt: "2026-11-23T12:00:00Z"}
}

func TestWriteListRemove(t *testing.T) {
	state := t.TempDir()
	if runs, err := marker.List(state); err != nil || len(runs) != 0 {
		t.Fatalf("%v %v", runs, err)
	}
	a, b := run(os.Getpid()), run(os.Getpid())
	for _, r := range []marker.Run{b, a} {
		if err := marker.Write(state, r); err != nil {
			t.Fatal(err)
		}
	}
	runs, err := marker.List(state)
	if err != nil || len(runs) != 2 || runs[0].SandboxID != a.SandboxID || runs[1].SandboxID != b.SandboxID {
		t.Fatalf("%+v %v", runs, err)
	}
	if got := runs[0]; got.SessionID != "s-1" || got.PID != os.Getpid() || !got.Started().Equal(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", got)
	}
	for _, key := range []string{"sandbox_id", "agent_id", "session_id", "authority_url", "policy_bundle_version", "pid", "started_at"} {
		data, err := os.ReadFile(filepath.Join(marker.Dir(state, a.SandboxID), "metadata.toml"))
		if err != nil || !strings.Contains("\n"+string(data), "\n"+key+" = ") {
			t.Errorf("%s is missing: %v", key, err)
		}
	}
	other := filepath.Join(marker.Dir(state, b.SandboxID), "gate.sock")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	marker.Remove(state, a.SandboxID)
	marker.Remove(state, b.SandboxID)
	marker.Remove(state, "../..")
	if runs, err := marker.List(state); err != nil || len(runs) != 0 {
		t.Errorf("%v %v", runs, err)
	}
	if _, err := os.Stat(marker.Dir(state, a.SandboxID)); !os.IsNotExist(err) {
		t.Error("the directory is still there")
	}
	if _, err := os.Stat(other); err != nil {
		t.Error("somebody else's file was removed")
	}
	if err := marker.Write(state, marker.Run{SandboxID: "../x"}); err == nil {
		t.Error("a path was built from no id")
	}
}

// What is not a whole marker is skipped and left alone.
func TestMalformed(t *testing.T) {
	state := t.TempDir()
	whole := run(os.Getpid())
	if err := marker.Write(state, whole); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(marker.Dir(state, whole.SandboxID), "metadata.toml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "not TOML": "{", "another run's": string(good), "no pid": strings.Replace(string(good), "pid = ", "pod = ", 1),
		"bad time": strings.Replace(string(good), "2026-11-23T12", "yesterday", 1), "huge": strings.Repeat("# x\n", 1<<16),
	} {
		dir := marker.Dir(state, ids.New(ids.Sandbox))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "metadata.toml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if runs, err := marker.List(state); err != nil || len(runs) != 1 {
			t.Errorf("%s: %d runs, %v", name, len(runs), err)
		}
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("%s: it was deleted", name)
		}
	}
	if err := os.MkdirAll(filepath.Join(state, "run", "not-an-id"), 0o700); err != nil {
		t.Fatal(err)
	}
	if runs, err := marker.List(state); err != nil || len(runs) != 1 {
		t.Errorf("%d runs, %v", len(runs), err)
	}
}

func TestStates(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("process states are read from /proc")
	}
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	pid, born := cmd.Process.Pid, marker.Born(cmd.Process.Pid)
	if s := marker.StateOf(pid, born); s != marker.Running {
		t.Errorf("a process is %s", s)
	}
	if s := marker.StateOf(pid, born+1); s != marker.Stopped {
		t.Errorf("a process that took over a pid is %s", s)
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return marker.StateOf(pid, born) == marker.Unhealthy })
	_ = cmd.Process.Kill()
	eventually(t, func() bool { return marker.StateOf(pid, born) == marker.Stopped }) // a zombie, still
	_ = cmd.Wait()
	if s := marker.StateOf(pid, born); s != marker.Stopped {
		t.Errorf("a process that is gone is %s", s)
	}
	for _, pid := range []int{-1, 0, 1} {
		if s := marker.StateOf(pid, 0); s != marker.Stopped {
			t.Errorf("pid %d is %s", pid, s)
		}
	}
}

func eventually(t *testing.T, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come about")
		}
	}
}

func TestPIDFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.pid")
	if err := marker.WritePID(path, os.Getpid()); err != nil {
		t.Fatal(err)
	}
	if pid, born, err := marker.ReadPID(path); err != nil || pid != os.Getpid() || born != marker.Born(pid) {
		t.Errorf("%d %d %v", pid, born, err)
	}
	for name, text := range map[string]string{"empty": "", "init": "1\n", "zero": "0", "everybody": "-1\n", "words": "me\n", "long": strings.Repeat("1", 100)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if pid, _, err := marker.ReadPID(path); err == nil {
			t.Errorf("%s: %d", name, pid)
		}
	}
	if err := os.WriteFile(path, []byte("4711\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if pid, born, err := marker.ReadPID(path); err != nil || pid != 4711 || born != 0 {
		t.Errorf("%d %d %v", pid, born, err)
	}
}

// FuzzMarker: whatever lies where a run's marker would, what is listed is about that
// run and complete, and written again it is the same.
func FuzzMarker(f *testing.F) {
	id := "sbx_01h455vb4pex5vsknk084sn02q"
	f.Add([]byte("sandbox_id = '"+id+"'\nagent_id = 'a'\nsession_id = \"s\\n\"\nauthority_url = ''\npolicy_bundle_version = ''\npid = 2\nstarted_at = '2026-11-23T12:00:00Z'\npid_start = 7\n"), []byte("2\n7\n"))
	f.Add([]byte("sandbox_id = 'sbx_01h455vb4pex5vsknk084sn02r'\npid = -1\n"), []byte(" 12 "))
	f.Add([]byte("pid = 99999999999999999999"), []byte("1"))
	f.Add([]byte("\xff"), []byte("+5\r\n-7\r\n"))
	state := f.TempDir()
	place := func(name string) string { return filepath.Join(marker.Dir(state, id), name) }
	f.Fuzz(func(t *testing.T, metadata, pidFile []byte) {
		if err := os.MkdirAll(marker.Dir(state, id), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, data := range map[string][]byte{"metadata.toml": metadata, "sidecar.pid": pidFile} {
			if err := os.WriteFile(place(name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if pid, _, err := marker.ReadPID(place("sidecar.pid")); err == nil && (pid <= 1 || !strings.Contains(string(pidFile), strconv.Itoa(pid))) {
			t.Fatalf("%q is the process %d", pidFile, pid)
		}
		runs, err := marker.List(state)
		if err != nil || len(runs) > 1 {
			t.Fatal(runs, err)
		}
		if len(runs) == 0 {
			return
		}
		r := runs[0]
		if r.SandboxID != id || r.AgentID == "" || r.SessionID == "" || r.PID <= 0 {
			t.Fatalf("%+v", r)
		}
		r.PID = os.Getpid() // one whose birth is known
		if err := marker.Write(state, r); err != nil {
			t.Fatal(err)
		}
		again, err := marker.List(state)
		if err != nil || len(again) != 1 {
			t.Fatalf("%+v became %+v, %v", r, again, err)
		}
		if again[0].Born = r.Born; again[0] != r {
			t.Fatalf("%+v became %+v", r, again[0])
		}
	})
}
