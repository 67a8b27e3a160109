package e2e

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"firma/internal/testkit/transcript"
	"firma/internal/testkit/world"
)

// deadline is how long anything may take that a test waits for.
const deadline = 40 * time.Second

// play is one firma run. The zero value of each field is the usual thing.
type play struct {
	command []string
	flags   []string // of firma run; --authority local and --config come before
	bare    bool     // only flags: neither --authority nor --config
	config  string   // "": the stage's
	state   string   // "": a new directory
	dir     string   // "": the project
	env     []string // on top of the world's
	stdin   io.Reader
	stdout  *os.File // instead of what is kept
	firma   string   // "": the world's copy of the binary
	room    *room    // where it runs; nil: here
}

// run is the usual play: a command behind the stage's configuration.
func run(command ...string) play { return play{command: command} }

// sh runs a script, quietly.
func sh(script string) play {
	return play{command: []string{"bash", "-c", script}, flags: []string{"--quiet"}}
}

// performance is a play under way.
type performance struct {
	t        testing.TB
	cmd      *exec.Cmd
	state    string
	out, err *transcript.Transcript
	begun    time.Time
	over     chan struct{} // closed when the process is gone
	waitErr  error
}

// result is how a play ended.
type result struct {
	code   int            // exit status; -1 if a signal ended firma
	signal syscall.Signal // that signal
	out    string
	err    string
	state  string
	took   time.Duration
}

// run plays to the end.
func (s *stage) run(t testing.TB, p play) *result {
	t.Helper()
	return s.start(t, p).end()
}

// start begins a play. It is killed when the test ends before it does.
func (s *stage) start(t testing.TB, p play) *performance {
	t.Helper()
	f := &performance{t: t, state: p.state, out: transcript.New(), err: transcript.New(), over: make(chan struct{})}
	if f.state == "" {
		f.state = s.fresh(t, "state")
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.cmd = s.command(ctx, p, f.state)
	f.cmd.Stdout, f.cmd.Stderr = f.out, f.err
	if p.stdout != nil {
		f.cmd.Stdout = p.stdout
	}
	f.begun = time.Now()
	must(t, f.cmd.Start())
	go func() {
		f.waitErr = f.cmd.Wait()
		f.out.Close()
		f.err.Close()
		close(f.over)
	}()
	t.Cleanup(func() {
		cancel()
		<-f.over
	})
	return f
}

// command is the exec.Cmd of a play that has not been started.
func (s *stage) command(ctx context.Context, p play, state string) *exec.Cmd {
	firma := p.firma
	if firma == "" {
		firma = s.Firma
	}
	args := []string{firma, "run"}
	if !p.bare {
		config := p.config
		if config == "" {
			config = s.config
		}
		args = append(args, "--authority", "local", "--config", config)
	}
	args = append(append(args, p.flags...), "--")
	c := world.Command{Args: append(args, p.command...), Env: append([]string{"FIRMA_STATE_DIR=" + state}, p.env...)}
	dir := p.dir
	if dir == "" {
		dir = s.Project
	}
	if p.room != nil {
		c.Args = p.room.enter(s, dir, c.Args)
	}
	cmd := s.Prepare(ctx, c)
	cmd.Dir, cmd.Stdin = dir, p.stdin
	if p.room != nil {
		p.room.asRoot(cmd)
	}
	return cmd
}

// end waits for the end of the play.
func (f *performance) end() *result {
	f.t.Helper()
	select {
	case <-f.over:
	case <-time.After(deadline):
		_ = f.cmd.Process.Kill()
		f.t.Fatalf("%q did not end within %v\n%s", f.cmd.Args, deadline, f.said())
	}
	var exit *exec.ExitError
	if f.waitErr != nil && !errors.As(f.waitErr, &exit) {
		f.t.Fatalf("%q: %v\n%s", f.cmd.Args, f.waitErr, f.said())
	}
	r := &result{code: f.cmd.ProcessState.ExitCode(), out: f.out.String(), err: f.err.String(), state: f.state, took: time.Since(f.begun)}
	if ws := f.cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
		r.signal = ws.Signal()
	}
	return r
}

func (f *performance) said() string {
	return "stdout: " + f.out.String() + "\nstderr: " + f.err.String()
}

// signal sends sig to firma run itself.
func (f *performance) signal(sig syscall.Signal) {
	f.t.Helper()
	must(f.t, f.cmd.Process.Signal(sig))
}

// until waits until the agent has written text to its standard output.
func (f *performance) until(text string) {
	f.t.Helper()
	if f.out.Wait(0, text) < 0 {
		f.t.Fatalf("%q was not written\n%s", text, f.said())
	}
}

// wantCode fails the test when the run ended with another status.
func (r *result) wantCode(t testing.TB, code int) *result {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit status %d (signal %d), want %d\n%s", r.code, r.signal, code, r)
	}
	return r
}

func (r *result) String() string { return "stdout: " + r.out + "\nstderr: " + r.err }

// firma runs another command of the binary to its end, in a state directory.
func (s *stage) firma(t testing.TB, state string, args ...string) world.Outcome {
	t.Helper()
	return s.Run(t, world.Command{Args: append([]string{s.Firma}, args...), Env: []string{"FIRMA_STATE_DIR=" + state}})
}

// write puts a file of the account into the project and returns its path.
func (s *stage) write(t testing.TB, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(s.Project, name)
	must(t, errors.Join(os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode), s.Account.Own(path)))
	return path
}
