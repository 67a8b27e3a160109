package world

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"firma/internal/testkit/census"
)

// Running is a command that a test talks to while it runs.
type Running struct {
	Cmd    *exec.Cmd
	in     io.WriteCloser
	lines  chan string // stdout, closed at its end
	mu     sync.Mutex
	stderr bytes.Buffer
	cancel context.CancelFunc
	begin  time.Time
}

// Start starts a command. It is killed at the end of the test.
func (w *World) Start(t testing.TB, c Command) *Running {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	r := &Running{Cmd: w.Prepare(ctx, c), lines: make(chan string, 4096), cancel: cancel, begin: time.Now()}
	in, err := r.Cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := r.Cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.in, r.Cmd.Stderr = in, (*collector)(r)
	if err := r.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = in.Close() })
	go func() {
		defer close(r.lines)
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadString('\n')
			if line != "" {
				r.lines <- strings.TrimSuffix(line, "\n")
			}
			if err != nil {
				return
			}
		}
	}()
	return r
}

// collector gathers stderr; it is read while the command still writes.
type collector Running

func (e *collector) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stderr.Write(p)
}

// Stderr is what it wrote so far.
func (r *Running) Stderr() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stderr.String()
}

// Line returns the next line of stdout, or "" and false at its end.
func (r *Running) Line() (string, bool) {
	line, ok := <-r.lines
	return line, ok
}

// Send writes a line to stdin. A command that is gone does not read it.
func (r *Running) Send(line string) { _, _ = io.WriteString(r.in, line+"\n") }

// CloseInput ends stdin.
func (r *Running) CloseInput() { _ = r.in.Close() }

// Family holds the command and everything it started.
func (r *Running) Family(t testing.TB) *census.Family {
	t.Helper()
	f, err := census.Hold(r.Cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// Wait waits for the end. Lines that were not read are in Stdout.
func (r *Running) Wait(t testing.TB) Outcome {
	t.Helper()
	var out bytes.Buffer
	for line := range r.lines {
		out.WriteString(line + "\n")
	}
	err := r.Cmd.Wait()
	r.cancel()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%q: %v", r.Cmd.Args, err)
	}
	return Outcome{r.Cmd.ProcessState.ExitCode(), out.String(), r.Stderr(), time.Since(r.begin)}
}
