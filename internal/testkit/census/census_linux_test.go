package census

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestMain lets the test binary be the process that is counted: it waits for the
// end of its input.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "be-counted" {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestCountsAProgramByItsInode(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "counted")
	if err := os.Link(self, program); err != nil {
		data, err := os.ReadFile(self)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(program, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	scope := Scope{Programs: []string{program}}
	before, err := Take(scope)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "be-counted")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	during, err := Take(scope)
	if err != nil {
		t.Fatal(err)
	}
	if got := during.Since(before).Processes; len(got) != 1 || got[0].PID != cmd.Process.Pid || got[0].Parent != os.Getpid() {
		t.Errorf("during: %+v", got)
	}
	family, err := Hold(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer family.Close()
	if got := family.Find("be-counted"); len(got) != 1 || got[0].PID != cmd.Process.Pid {
		t.Errorf("family: %v", family.Members)
	}
	now, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	if left, err := family.Survivors(now); err != nil || len(left) != len(family.Members) {
		t.Errorf("survivors while all live: %v, %v", left, err)
	}
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	after, err := Take(scope)
	if err != nil {
		t.Fatal(err)
	}
	if got := after.Since(before); len(got.Processes) != 0 {
		t.Errorf("after: %+v", got)
	}
}
