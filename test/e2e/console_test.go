package e2e

import (
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"firma/internal/testkit/transcript"
	"firma/internal/testkit/world"
)

// console is a program on a terminal of its own, with the test at the keyboard.
type console struct {
	t      testing.TB
	term   *os.File // the test's side
	cmd    *exec.Cmd
	screen *transcript.Transcript
	seen   int                     // how much of it has been waited for
	status chan syscall.WaitStatus // every change of the program's state
	modes  unix.Termios            // as they were at first
	state  string
}

// terminal starts firma run of p on a new terminal of 24 lines and 80 columns.
func (s *stage) terminal(t testing.TB, p play) *console {
	t.Helper()
	state := s.fresh(t, "state")
	return s.onTerminal(t, s.command(context.Background(), p, state), state)
}

// bash starts the caller's interactive shell on a new terminal; "run" is firma run.
func (s *stage) bash(t testing.TB) *console {
	t.Helper()
	state := s.fresh(t, "state")
	rc := s.write(t, "bashrc", `PS1='$ '; run() { "$F" run --authority local --config "$C" --quiet -- "$@"; }`, 0o644)
	cmd := s.Prepare(context.Background(), world.Command{Args: []string{"/bin/bash", "--noprofile", "--rcfile", rc, "-i"},
		Env: []string{"F=" + s.Firma, "C=" + s.config, "FIRMA_STATE_DIR=" + state}})
	c := s.onTerminal(t, cmd, state)
	c.until("$ ")
	return c
}

func (s *stage) onTerminal(t testing.TB, cmd *exec.Cmd, state string) *console {
	t.Helper()
	term, slave, err := pty.Open()
	must(t, err)
	defer slave.Close()
	must(t, s.Account.Own(slave.Name()))
	must(t, pty.Setsize(term, &pty.Winsize{Rows: 24, Cols: 80}))
	c := &console{t: t, term: term, cmd: cmd, screen: transcript.New(), status: make(chan syscall.WaitStatus, 16), state: state}
	c.modes = c.termios()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	must(t, cmd.Start())
	go c.watch()
	go func() {
		_, _ = io.Copy(c.screen, term) // ends when nobody has the terminal open
		c.screen.Close()
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(cmd.Process.Pid, syscall.SIGKILL)
		for range c.status {
		}
		term.Close()
	})
	return c
}

// watch reports stops and the end of the program.
func (c *console) watch() {
	defer close(c.status)
	for {
		var ws syscall.WaitStatus
		_, err := syscall.Wait4(c.cmd.Process.Pid, &ws, syscall.WUNTRACED|syscall.WCONTINUED, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return
		}
		c.status <- ws
		if ws.Exited() || ws.Signaled() {
			return
		}
	}
}

// types presses keys.
func (c *console) types(keys string) {
	c.t.Helper()
	_, err := io.WriteString(c.term, keys)
	must(c.t, err)
}

// until waits for text on the screen, after what was waited for before.
func (c *console) until(text string) {
	c.t.Helper()
	end := c.screen.Wait(c.seen, text)
	if end < 0 {
		c.t.Fatalf("%q does not come; the screen shows\n%s", text, c.shown())
	}
	c.seen = end
}

func (c *console) shown() string { return strings.ReplaceAll(c.screen.String(), "\r", "") }

// next is the program's next change of state.
func (c *console) next() syscall.WaitStatus {
	c.t.Helper()
	select {
	case ws := <-c.status:
		return ws
	case <-time.After(deadline):
		c.t.Fatalf("the program goes on as it is; the screen shows\n%s", c.shown())
		return 0
	}
}

// wantExit waits for the end and checks status and terminal.
func (c *console) wantExit(code int) {
	c.t.Helper()
	ws := c.next()
	if !ws.Exited() || ws.ExitStatus() != code {
		c.t.Fatalf("ended with %#x, want status %d; the screen shows\n%s", uint32(ws), code, c.shown())
	}
	c.wantModes()
}

func (c *console) termios() unix.Termios {
	c.t.Helper()
	m, err := unix.IoctlGetTermios(int(c.term.Fd()), unix.TCGETS)
	must(c.t, err)
	return *m
}

// wantModes fails unless the terminal is set as it was at first.
func (c *console) wantModes() {
	c.t.Helper()
	if now := c.termios(); now != c.modes {
		c.t.Errorf("the terminal was left with %+v, was %+v", now, c.modes)
	}
}

// untilRaw waits until the terminal passes every key on.
func (c *console) untilRaw() {
	c.t.Helper()
	poll(c.t, "the terminal goes raw", func() bool { return c.termios().Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) == 0 })
}
