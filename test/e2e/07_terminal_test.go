package e2e

import (
	"context"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"

	"firma/internal/testkit/world"
)

const (
	ctrlC = "\x03"
	ctrlD = "\x04"
	ctrlZ = "\x1a"
	ctrlB = "\x1c" // Ctrl-\, which quits
)

func quietly(command ...string) play { return play{command: command, flags: []string{"--quiet"}} }

// TestTerminal: inside, the agent has a terminal that behaves like the caller's.
func TestTerminal(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		t.Run("is one", func(t *testing.T) {
			p := quietly("bash", "-c", `test -t 0 && test -t 1 && test -t 2 && echo "yes: $(tty) $TERM $(stty size)"; (: </dev/tty) && echo controls; exit 9`)
			p.env = []string{"TERM=screen-256color"}
			c := s.terminal(t, p)
			c.until("yes: /dev/console screen-256color 24 80")
			c.until("controls")
			c.wantExit(9)
		})
		t.Run("size", func(t *testing.T) {
			c := s.terminal(t, quietly("python3", "winsize.py"))
			c.until("size 24 80")
			must(t, pty.Setsize(c.term, &pty.Winsize{Rows: 33, Cols: 101}))
			c.until("size 33 101")
			c.types(ctrlC)
			c.wantExit(130)
		})
		t.Run("long output", func(t *testing.T) {
			c := s.terminal(t, quietly("seq", "60000"))
			c.wantExit(0)
			c.until("60000\r\n")
			if n := strings.Count(c.screen.String(), "\r\n"); n != 60000 {
				t.Errorf("%d lines", n)
			}
		})
		t.Run("Ctrl-D ends input", func(t *testing.T) {
			c := s.terminal(t, quietly("bash", "-c", "cat; echo the end"))
			c.untilRaw()
			c.types("hello\n")
			c.until("hello\r\nhello\r\n") // echo, then cat
			c.types(ctrlD)
			c.until("the end")
			c.wantExit(0)
		})
	})
}

// TestInterrupt: Ctrl-C and Ctrl-\ are the agent's.
func TestInterrupt(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		for _, k := range []struct {
			name, key string
			code      int
		}{{"Ctrl-C", ctrlC, 130}, {"Ctrl-backslash", ctrlB, 131}} {
			t.Run(k.name, func(t *testing.T) {
				c := s.terminal(t, quietly("sleep", "86400"))
				c.untilRaw()
				c.types(k.key)
				c.wantExit(k.code)
			})
		}
		t.Run("handled", func(t *testing.T) {
			c := s.terminal(t, quietly("python3", "-c", `
import os, signal, sys
signal.signal(signal.SIGINT, lambda *_: os.write(1, b"caught\\n"))
print("ready", flush=True)
for line in sys.stdin:
    sys.exit(int(line))`))
			c.until("ready")
			c.types(ctrlC)
			c.until("caught")
			c.types(ctrlC)
			c.until("caught")
			c.types("6\n")
			c.wantExit(6)
		})
	})
}

// TestSuspend: Ctrl-Z stops the agent and firma run together, with the terminal as
// it was; SIGCONT goes on with both.
func TestSuspend(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		c := s.terminal(t, quietly("cat"))
		for range 2 {
			c.untilRaw()
			c.types("one\n")
			c.until("one\r\none\r\n")
			c.types(ctrlZ)
			if ws := c.next(); !ws.Stopped() {
				t.Fatalf("firma run is not stopped: %#x\n%s", uint32(ws), c.shown())
			}
			c.wantModes()
			must(t, syscall.Kill(c.cmd.Process.Pid, syscall.SIGCONT))
			if ws := c.next(); !ws.Continued() {
				t.Fatalf("firma run goes not on: %#x", uint32(ws))
			}
		}
		c.untilRaw()
		c.types("two\n")
		c.until("two\r\ntwo\r\n")
		c.types(ctrlD)
		c.wantExit(0)
	})
}

// TestModesRestored: however the run ends, the terminal is as it was.
func TestModesRestored(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		for _, e := range []struct {
			name string
			end  func(c *console)
			code int
		}{
			{"exit", func(c *console) { c.types("\n") }, 0},
			{"SIGTERM", func(c *console) { must(t, syscall.Kill(c.cmd.Process.Pid, syscall.SIGTERM)) }, 143},
			{"SIGHUP", func(c *console) { must(t, syscall.Kill(c.cmd.Process.Pid, syscall.SIGHUP)) }, 129},
			{"SIGINT", func(c *console) { must(t, syscall.Kill(c.cmd.Process.Pid, syscall.SIGINT)) }, 130},
			{"Sidecar killed", func(c *console) {
				f := &performance{t: t, cmd: c.cmd}
				must(t, syscall.Kill(f.parts().sidecar, syscall.SIGKILL))
			}, 125},
		} {
			t.Run(e.name, func(t *testing.T) {
				c := s.terminal(t, quietly("sh", "-c", "stty -echo raw; echo ready; exec head -n 1 >/dev/null"))
				c.until("ready")
				c.untilRaw()
				e.end(c)
				c.wantExit(e.code)
			})
		}
		t.Run("no start", func(t *testing.T) {
			s.terminal(t, quietly("no-such-command")).wantExit(127)
		})
	})
}

// TestJobControlInside: a shell inside stops and continues its own jobs, and firma run
// is not stopped by that.
func TestJobControlInside(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		p := quietly("bash", "--norc", "--noprofile", "-i")
		p.env = []string{"TERM=dumb"}
		c := s.terminal(t, p)
		c.until("$ ")
		c.types("sleep 86400\n")
		poll(t, "sleep runs", func() bool { return s.foreground(c) == "sleep" })
		c.types(ctrlZ)
		c.until("Stopped")
		c.types("jobs\n")
		c.until("Stopped")
		c.types("fg\n")
		c.until("sleep 86400")
		poll(t, "sleep goes on", func() bool { return s.foreground(c) == "sleep" })
		c.types(ctrlC)
		c.until("$ ")
		c.types("exit 4\n")
		c.wantExit(4)
	})
}

// foreground is the name of the program in front of the agent's terminal.
func (s *stage) foreground(c *console) string {
	p := (&performance{t: c.t, cmd: c.cmd}).parts()
	pids := append([]int{p.agent}, childrenOf(p.agent)...)
	for _, pid := range pids {
		if f := statOf(pid); len(f) > 7 && f[4] == f[7] && f[2] != "T" { // its group is the terminal's (proc(5))
			return strings.Trim(f[1], "()")
		}
	}
	return ""
}

// TestJobControlOutside: for the caller's shell, firma run is a job like any other.
func TestJobControlOutside(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		t.Run("Ctrl-Z and fg", func(t *testing.T) {
			c := s.bash(t)
			c.types("run cat\n")
			c.untilRaw()
			c.types("before\n")
			c.until("before\r\nbefore\r\n")
			c.types(ctrlZ)
			c.until("Stopped")
			c.types("stty -a | grep -c ' icanon'; jobs | wc -l\n")
			c.until("1\r\n1\r\n")
			c.types("fg\n")
			c.untilRaw()
			c.types("after\n")
			c.until("after\r\nafter\r\n")
			c.types(ctrlD)
			c.until("$ ") // what is typed before is still the run's
			c.types("echo status $?\n")
			c.until("status 0")
		})
		t.Run("killed while stopped", func(t *testing.T) {
			c := s.bash(t)
			c.types("run sleep 86400\n")
			c.untilRaw()
			c.types(ctrlZ)
			c.until("Stopped")
			c.types("p=$(jobs -p %1); kill %1; while kill -0 $p; do :; done 2>/dev/null; echo it is \"gone\"\n")
			c.until("it is gone")
		})
		t.Run("in the background", func(t *testing.T) {
			c := s.bash(t)
			c.types("run sh -c 'echo written by; echo a background job' & wait; echo status $?\n")
			c.until("a background job")
			c.until("status 0")
		})
		t.Run("to the front", func(t *testing.T) {
			c := s.bash(t)
			c.types("run sh -c 'echo started; read x; echo got $x' &\n")
			c.until("started")
			c.types("fg\n")
			c.untilRaw()
			c.types("this\n")
			c.until("got this")
			c.until("$ ")
			c.types("echo status $?\n")
			c.until("status 0")
		})
		t.Run("in a pipe", func(t *testing.T) {
			c := s.bash(t)
			c.types("echo piped | run sh -c 'cat; test -t 0 || echo not in; test -t 1 && echo but out'\n")
			c.until("piped")
			c.until("not in")
			c.until("but out")
			c.until("$ ")
			c.types("run sh -c 'test -t 0 && echo in; test -t 1 || echo but not out' | cat\n")
			c.until("in\r\nbut not out\r\n") // each line from its start
			c.until("$ ")
			c.types("stty -a | grep -c ' icanon'\n")
			c.until("1\r\n")
		})
		t.Run("Ctrl-C where stdin is a pipe", func(t *testing.T) {
			c := s.bash(t)
			c.types("echo piped | run sh -c 'cat; exec sleep 86400'\n")
			c.until("piped")
			c.until("piped") // first as typed
			c.types(ctrlC)
			c.until("$ ")
			c.types("echo status $?\n")
			c.until("status 130")
		})
	})
}

// TestNothingIsTypedOutside: what the agent pushes into its terminal's input stays
// there. The control types for real, where the kernel still lets it.
func TestNothingIsTypedOutside(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		c := s.bash(t)
		c.types("run python3 inject.py; echo over\n")
		c.until("over\r\n")
		c.types("echo next\n")
		c.until("next\r\n")
		if shown := c.shown(); strings.Contains(shown, "typed-by-the-agent") || strings.Contains(shown, "accepted") {
			t.Errorf("the agent typed:\n%s", shown)
		}
		control := s.bash(t)
		control.types("python3 inject.py; echo over\n")
		control.until("over\r\n")
		if !strings.Contains(control.shown(), "stdin accepted") {
			t.Logf("no control: this kernel refuses TIOCSTI to everybody (dev.tty.legacy_tiocsti)")
		}
	})
}

// TestPrompt: without an Authority, firma run asks once on a terminal and keeps a "y".
func TestPrompt(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		ask := func(answer string) *console {
			cmd := s.Prepare(context.Background(), world.Command{Args: []string{s.Firma, "run", "--", "echo", "it", "runs"},
				Env: []string{"FIRMA_STATE_DIR=" + s.fresh(t, "state")}})
			c := s.onTerminal(t, cmd, "")
			if answer != "" {
				c.until("Start a local Mini Authority? [y/N]: ")
				c.types(answer)
			}
			return c
		}
		for _, no := range []string{"n\n", "\n", ctrlD} {
			c := ask(no)
			c.until("AuthorityDeclined")
			c.wantExit(125)
		}
		c := ask("y\n")
		c.until("it runs")
		c.wantExit(0)
		c = ask("")
		c.until("it runs")
		c.wantExit(0)
	})
}
