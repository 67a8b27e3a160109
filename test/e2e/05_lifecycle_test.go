package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"firma/internal/testkit/canary"
	"firma/internal/testkit/census"
)

// untouched is everything of the host a run may not change: processes, sockets,
// mounts, temporary files, and each byte and time of the world outside the state
// directory.
type untouched struct {
	s     *stage
	room  *room
	tree  canary.Tree
	socks []string
}

func (s *stage) untouched(t *testing.T) *untouched {
	t.Helper()
	u := &untouched{s: s, room: s.newRoom(t)}
	u.tree = s.snapshot(t)
	return u
}

// snapshot leaves out what firma is there to write: its state directories.
func (s *stage) snapshot(t *testing.T) canary.Tree {
	t.Helper()
	tree, err := canary.Snapshot(s.Base, func(path string) bool {
		return path == s.Base || strings.HasPrefix(path, filepath.Join(s.Base, "state"))
	})
	must(t, err)
	return tree
}

// during takes the positive control: a run under way has processes and sockets.
func (u *untouched) during(t *testing.T, f *performance) parts {
	t.Helper()
	p := f.parts()
	u.socks = socketsOf(p.launcher, p.authority, p.sidecar)
	c, err := census.Take(u.s.scope())
	must(t, err)
	if len(c.Processes) < 3 || len(listening(t, u.socks)) == 0 {
		t.Fatalf("INVALID: the census does not see a run under way: %+v, listening: %v", c, listening(t, u.socks))
	}
	return p
}

// check waits for the end of the processes and fails for everything that is left.
func (u *untouched) check(t *testing.T) {
	t.Helper()
	u.s.wantGone(t)
	for _, x := range openSockets(t, u.socks) {
		t.Errorf("still open: %s", x)
	}
	u.room.wantAsBefore(t)
	for _, d := range u.s.snapshot(t).Diff(u.tree) {
		t.Errorf("changed: %s", d)
	}
}

// waiting is an agent that has started, marked its processes, and waits.
func (s *stage) waiting(u *untouched) play {
	return play{command: []string{"python3", "daemons.py", s.Base, "wait"}, room: u.room}
}

// death is one way for a run to be ended from outside.
type death struct {
	name    string
	kill    func(f *performance, p parts)
	code    int
	signal  syscall.Signal // that ends firma run itself
	says    string         // in firma's message
	cause   string         // in run.end
	missing bool           // the log has no run.end and is not sealed
}

func killing(who func(parts) int) func(*performance, parts) {
	return func(f *performance, p parts) { must(f.t, syscall.Kill(who(p), syscall.SIGKILL)) }
}

var deaths = []death{
	{name: "launcher", kill: killing(func(p parts) int { return p.launcher }), code: -1, signal: syscall.SIGKILL, cause: "the launcher is gone"},
	{name: "Sidecar", kill: killing(func(p parts) int { return p.sidecar }), code: 125, says: "SidecarLost", missing: true},
	{name: "Authority", kill: killing(func(p parts) int { return p.authority }), code: 125, says: "AuthorityLost", cause: "AuthorityLost"},
	{name: "bwrap", kill: killing(func(p parts) int { return p.monitor }), code: 125, says: "SandboxLost", cause: "SandboxLost"},
	{name: "pid 1 inside", kill: killing(func(p parts) int { return p.init }), code: 137, cause: "signal killed"},
	{name: "agent", kill: killing(func(p parts) int { return p.agent }), code: 137, cause: "signal killed"},
}

// TestKill: whichever process is killed, nothing is left, the status says what
// happened, and the log says how the run ended, or that it is not sealed.
func TestKill(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		for _, d := range deaths {
			t.Run(d.name, func(t *testing.T) {
				u := s.untouched(t)
				f := s.start(t, s.waiting(u))
				f.until("ready")
				d.kill(f, u.during(t, f))
				r := f.end()
				u.check(t)
				d.check(t, s, r)
			})
		}
	})
}

func (d death) check(t *testing.T, s *stage, r *result) {
	t.Helper()
	if r.code != d.code || r.signal != d.signal {
		t.Errorf("status %d, signal %v; want %d, %v\n%s", r.code, r.signal, d.code, d.signal, r)
	}
	if !strings.Contains(r.err, d.says) {
		t.Errorf("stderr has no %s: %s", d.says, r.err)
	}
	events := r.events(t)
	ends := find(events, pattern("run.end", "", "", ""))
	if d.missing {
		o := s.firma(t, r.state, "audit", "verify")
		if len(ends) != 0 || o.Code != 3 || !strings.HasPrefix(o.Stdout, "UNSEALED ") {
			t.Errorf("want an unsealed log without an end; verify: status %d %s%s", o.Code, o.Stdout, told(events))
		}
		return
	}
	if len(ends) != 1 || fmt.Sprint(ends[0].Info["cause"]) != d.cause {
		t.Errorf("run.end: %+v, want cause %q", ends, d.cause)
	}
	s.wantSealed(t, r)
}

// TestSignals: firma run passes signals on and ends as the agent does.
func TestSignals(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2} {
			t.Run("obeyed "+sig.String(), func(t *testing.T) {
				u := s.untouched(t)
				// Not bash: it ignores SIGQUIT.
				f := s.start(t, play{command: []string{"sh", "-c", "python3 daemons.py " + s.Base + "; echo ready; exec sleep 86400"}, room: u.room})
				f.until("ready")
				u.during(t, f)
				f.signal(sig)
				f.end().wantCode(t, 128+int(sig))
				u.check(t)
			})
			t.Run("handled "+sig.String(), func(t *testing.T) {
				f := s.start(t, run("bash", "-c", fmt.Sprintf("trap 'echo got it; exit 7' %d; echo ready; while :; do sleep 1 & wait $!; done", int(sig))))
				f.until("ready")
				f.signal(sig)
				if r := f.end().wantCode(t, 7); r.out != "ready\ngot it\n" {
					t.Errorf("the agent said %q", r.out)
				}
			})
		}
	})
}

// TestDaemonsDieWithTheAgent: what the agent leaves behind ends with it.
func TestDaemonsDieWithTheAgent(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		u := s.untouched(t)
		p := s.waiting(u)
		p.command = p.command[:3]
		r := s.run(t, p).wantCode(t, 0)
		u.check(t)
		s.wantSealed(t, r)
	})
}

// TestToldToEnd: an agent that ignores SIGTERM or SIGHUP is killed after a grace
// period; and neither does a reader who does not read keep the run from ending.
func TestToldToEnd(t *testing.T) {
	t.Parallel()
	everyone(t, func(t *testing.T, s *stage) {
		t.Parallel()
		u := s.untouched(t)
		term, hup := s.start(t, s.waiting(u)), s.start(t, s.waiting(u))
		reader, full, err := os.Pipe()
		must(t, err)
		t.Cleanup(func() { reader.Close(); full.Close() })
		unread := s.start(t, play{command: []string{"bash", "-c", "echo ready >&2; exec yes " + s.Base}, room: u.room, stdout: full})
		term.until("ready")
		hup.until("ready")
		if unread.err.Wait(0, "ready") < 0 {
			t.Fatal("the third run has not started")
		}
		term.signal(syscall.SIGTERM)
		hup.signal(syscall.SIGHUP)
		unread.signal(syscall.SIGTERM)
		for _, f := range []*performance{term, hup} {
			r := f.end().wantCode(t, 137)
			s.wantSealed(t, r)
			ends := wantRecorded(t, r.events(t), 1, pattern("run.end", "", "", ""))
			if cause := fmt.Sprint(ends[0].Info["cause"]); !strings.Contains(cause, "did not end") {
				t.Errorf("the log says the run ended by %q", cause)
			}
		}
		unread.end().wantCode(t, 143)
		u.check(t)
	})
}

// TestWorkspaceUntouched: a run with a writable workspace changes in it what the
// agent changes, and nothing else.
func TestWorkspaceUntouched(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		must(t, canary.Plant(s.Project, map[string]string{".git/HEAD": "ref: refs/heads/main\n", ".git/config": "[core]\n",
			".git/hooks/x": "", ".vscode/tasks.json": "{}\n", "src/main.c": "int main;\n"}))
		must(t, s.Account.OwnTree(s.Project))
		for _, profile := range []string{"generic", "codex"} {
			t.Run(profile, func(t *testing.T) {
				u := s.untouched(t)
				p := run("bash", "-c", "cat src/main.c; ls -R . >/dev/null; python3 -c 'pass'")
				p.flags, p.room = []string{"--profile", profile}, u.room
				s.run(t, p).wantCode(t, 0)
				u.check(t)
			})
		}
	})
}

// TestSidecarLostMidTransfer: when the Sidecar dies in the middle of a transfer, the
// agent has no network any more and the run ends.
func TestSidecarLostMidTransfer(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		u := s.untouched(t)
		p := run("bash", "-c", `trap '' TERM; curl -sS http://plain.test/sse?n=1000000 | while read -r x; do echo "$x"; done; echo "curl is over"
			curl -sS -o /dev/null -w '%{http_code}\n' http://plain.test/again; sleep 86400`)
		p.room = u.room
		f := s.start(t, p)
		f.until("event 3")
		d := deaths[1]
		d.kill(f, u.during(t, f))
		r := f.end()
		u.check(t)
		d.check(t, s, r)
		if _, after, _ := strings.Cut(r.out, "curl is over"); strings.Contains(after, "200") { // not "event 200"
			t.Errorf("the agent reached something after the Sidecar was gone: %s", r.out)
		}
		wantArrived(t, s.origin, []arrival{{"GET /again", 0}})
	})
}
