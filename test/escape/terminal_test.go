package escape

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// session is a shell script on a terminal of its own, as an operator has one.
type session struct {
	master *os.File
	out    chan string // lines; closed at the end
	cmd    *exec.Cmd
}

func (y *yard) session(t *testing.T, script string, args ...string) *session {
	t.Helper()
	master, slave, err := pty.Open()
	must(t, err)
	t.Cleanup(func() { _ = master.Close() })
	must(t, y.Account.Own(slave.Name()))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", script, "sh"}, args...)...)
	cmd.Dir, cmd.Env = y.Project, y.Env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	y.Account.Apply(cmd)
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	must(t, cmd.Start())
	_ = slave.Close()
	s := &session{master, make(chan string, 1024), cmd}
	go func() {
		defer close(s.out)
		lines := bufio.NewScanner(master)
		for lines.Scan() {
			s.out <- strings.TrimRight(lines.Text(), "\r")
		}
	}()
	return s
}

// until returns the lines up to one that holds mark.
func (s *session) until(t *testing.T, mark string) []string {
	t.Helper()
	var seen []string
	for line := range s.out {
		seen = append(seen, line)
		if strings.Contains(line, mark) {
			return seen
		}
	}
	t.Fatalf("the session ended without %q: %q", mark, seen)
	return nil
}

// over ends a shell that waits for a last line. Without that its end could hang up
// the terminal before the last of its output was read.
func (s *session) over(t *testing.T) {
	t.Helper()
	_, err := s.master.WriteString("\n")
	must(t, err)
	_ = s.cmd.Wait()
}

// typedByAgent runs a command on an operator's terminal and returns the first line
// the operator's shell reads afterwards. The operator types "honest", after the
// command has ended; anything before it was typed by the command.
func (y *yard) typedByAgent(t *testing.T, command []string) string {
	t.Helper()
	s := y.session(t, `"$@"; echo "ende"" $?"; read -r line; echo "got: $line"; read -r over`, command...)
	t.Logf("%v: %q", command[len(command)-4:], s.until(t, "ende "))
	_, err := s.master.WriteString("honest\n")
	must(t, err)
	seen := s.until(t, "got: ")
	s.over(t)
	return strings.TrimPrefix(seen[len(seen)-1], "got: ")
}

// TestTypingIntoTheOperatorsTerminal is TIOCSTI from inside, on the terminal that
// the operator goes on using.
func TestTypingIntoTheOperatorsTerminal(t *testing.T) {
	for _, a := range accounts(t) {
		t.Run(a.Name, func(t *testing.T) {
			y := newYard(t, a)
			for _, high := range []string{"0", "1"} {
				if high == "0" && y.typedByAgent(t, []string{y.probe, "tiocsti", "0", "injected", high}) != "injected" {
					t.Log("no control  TIOCSTI is off in this kernel (dev.tty.legacy_tiocsti)")
				}
				if got := y.typedByAgent(t, y.command(kase{}, y.probe, "tiocsti", "0", "injected", high).Args); got != "honest" {
					t.Errorf("ESCAPED     the operator's shell read %q (high bits %s)", got, high)
				}
			}
		})
	}
}

// TestControllingTerminalIsNotTheOperators redirects all streams away from the
// terminal, which leaves /dev/tty as the way to it.
func TestControllingTerminalIsNotTheOperators(t *testing.T) {
	for _, a := range accounts(t) {
		t.Run(a.Name, func(t *testing.T) {
			y := newYard(t, a)
			reached := func(command []string) bool {
				s := y.session(t, `"$@" </dev/null >out 2>&1; echo "ende"" $?"`, command...)
				seen := strings.Join(s.until(t, "ende "), "\n")
				_ = s.cmd.Wait()
				return strings.Contains(seen, "captured")
			}
			if !reached([]string{y.probe, "tty", "captured"}) {
				t.Error("INVALID     outside, /dev/tty is not the terminal")
			}
			if reached(y.command(kase{}, y.probe, "tty", "captured").Args) {
				t.Error("ESCAPED     the agent wrote on the operator's terminal")
			}
		})
	}
}
