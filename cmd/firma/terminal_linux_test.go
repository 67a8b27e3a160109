package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creack/pty"
)

// While an agent owns the terminal, log lines of all of a run's processes go to
// the run's log, not to its screen.
func TestLogLeavesTheTerminal(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	state := filepath.Join(home, "state")
	cmd := exec.Command(self, "run", "--log-filter", "debug", "--authority", "local", "--quiet", "--", "sh", "-c", "echo the agent; curl -s http://x.test/ >/dev/null; echo done")
	cmd.Args[0] = "firma"
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "HOME="+home, "FIRMA_STATE_DIR="+state, "TERM=dumb")
	tty, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	var screen bytes.Buffer
	_, _ = screen.ReadFrom(tty) // ends with an error when the terminal closes
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, screen.String())
	}
	_, rest, ok := bytes.Cut(screen.Bytes(), []byte("the agent"))
	during, after, ok2 := bytes.Cut(rest, []byte("done"))
	if !ok || !ok2 || bytes.Contains(during, []byte("level=")) {
		t.Errorf("log lines among the agent's:\n%s", screen.String())
	}
	logs, err := filepath.Glob(filepath.Join(state, "logs", "sbx_*.log"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("logs %v, %v", logs, err)
	}
	text, err := os.ReadFile(logs[0])
	if err != nil || !bytes.Contains(text, []byte("level=DEBUG")) {
		t.Errorf("%s holds %q, %v", logs[0], text, err)
	}
	if !bytes.Contains(after, []byte("firma: log "+logs[0])) {
		t.Errorf("the log is not named at the end:\n%s", screen.String())
	}
}

// Control-C at the question about an Authority is a failure like any other: it has
// a name, a fix and firma's own status, and starts nothing.
func TestQuestionInterrupted(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	cmd := exec.Command(self, "run", "--", "true")
	cmd.Args[0] = "firma"
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "HOME="+home, "FIRMA_STATE_DIR="+filepath.Join(home, "state"), "TERM=dumb")
	tty, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	var screen strings.Builder
	for b := make([]byte, 1); !strings.HasSuffix(screen.String(), "[y/N]: "); {
		if _, err := tty.Read(b); err != nil {
			t.Fatalf("%v\n%s", err, screen.String())
		}
		screen.Write(b)
	}
	if _, err := tty.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(&screen, tty) // ends with an error when the terminal closes
	_ = cmd.Wait()
	if cmd.ProcessState.ExitCode() != 125 || !strings.Contains(screen.String(), "\nfirma: error: Interrupted: ") || !strings.Contains(screen.String(), "\nfirma: fix: ") {
		t.Errorf("%v\n%s", cmd.ProcessState, screen.String())
	}
}
