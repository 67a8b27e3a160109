package localexec

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firma/internal/testkit/account"
	"firma/internal/testkit/world"
)

const ownPending = `[sidecar.local_exec]
default_action = "pending_hitl"
retry_after = "20ms"

[run.defaults.sidecar_local_exec]
hitl_mode = "async_token"
hitl_max_wait = "30s"
`

// TestOwnGate: the run's own Sidecar serves the gate, and says what it is
// configured to say.
func TestOwnGate(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		s.wantExecuted(t, s.run(play{config: "[sidecar.local_exec]\ndefault_action = \"allow\"\n"}))
		s.wantRefused(t, s.run(play{config: "[sidecar.local_exec]\n"}), "the run's own command gate refused /usr/bin/touch: denied by default_action")
		s.wantRefused(t, s.run(play{config: "[sidecar.local_exec]\ndefault_action = \"pending_hitl\"\n"}), "this run does not wait")
		place := s.dir("private")
		r := s.run(play{config: fmt.Sprintf("[sidecar.local_exec]\nsocket_path = %q\ndefault_action = \"allow\"\n[run.defaults.sidecar_local_exec]\nendpoint = \"unix://%s/g.sock\"\n", place+"/g.sock", place)})
		s.wantExecuted(t, r)
		if want := []string{"ALLOW |  | /usr/bin/touch | ", "ALLOW |  | /usr/bin/touch | "}; !cmp.Equal(r.launches(), want) {
			t.Errorf("recorded %q: want the gate's decision and the launch", r.launches())
		}
		must(t, os.Chmod(place, 0o755))
		r = s.run(play{config: fmt.Sprintf("[sidecar.local_exec]\nsocket_path = %q\ndefault_action = \"allow\"\n", place+"/g.sock")})
		if r.Code != 125 || !strings.Contains(r.Stderr, "LocalExecUnavailable") || s.executed() {
			t.Errorf("a directory that others may enter: status %d\n%s", r.Code, r.Stderr)
		}
		s.leavesNothing(t)
	})
}

// leavesNothing fails when a run's sockets are still there.
func (s *stage) leavesNothing(t *testing.T) {
	t.Helper()
	left, _ := filepath.Glob(filepath.Join(s.State, "firma", "run", "*"))
	if len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestApproval: a launch waits, a person approves it from another terminal, and it
// is executed, once.
func TestApproval(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		w := s.begin(play{config: ownPending})
		token, socket := w.token()
		if s.executed() {
			t.Error("it was executed before the approval")
		}
		for _, place := range []struct {
			path string
			mode os.FileMode
		}{{filepath.Dir(socket), os.ModeDir | 0o700}, {socket, os.ModeSocket | 0o600}, {filepath.Join(filepath.Dir(socket), "local-exec.sock"), os.ModeSocket | 0o600}} {
			if st, err := os.Stat(place.path); err != nil || st.Mode() != place.mode {
				t.Errorf("%s: %v, %v", place.path, st.Mode(), err)
			}
		}
		for _, wrong := range []struct{ args, want string }{
			{"approve apr_NOBODYS", "ApprovalNotFound"},
			{"approve --socket " + filepath.Join(filepath.Dir(socket), "local-exec.sock") + " " + token, "LocalExecUnavailable"},
			{"approve --socket " + s.Base + "/none.sock " + token, "LocalExecUnavailable"},
		} {
			if o := s.firma(append([]string{"token"}, strings.Fields(wrong.args)...)...); o.Code != 1 || !strings.Contains(o.Stderr, wrong.want) {
				t.Errorf("%s: status %d\n%s", wrong.args, o.Code, o.Stderr)
			}
		}
		s.othersCannotApprove(t, token, socket)
		mark := s.Mark(t)
		o := s.firma("token", "approve", token)
		if o.Code != 0 || o.Stdout != token+": /usr/bin/touch is approved for one execution\n" {
			t.Errorf("approve: status %d\n%s%s", o.Code, o.Stdout, o.Stderr)
		}
		if code, said := w.end(); code != 0 || !s.executed() {
			t.Errorf("status %d, or not executed\n%s", code, said)
		}
		r := result{events: s.Since(t, mark)}
		if l := r.launches(); len(l) != 3 || strings.Contains(strings.Join(l, ""), "DENY") {
			t.Errorf("recorded %q: want the approval, the gate's decision and the launch", l)
		}
		if o := s.firma("audit", "verify"); o.Code != 0 {
			t.Errorf("audit verify: %s%s", o.Stdout, o.Stderr)
		}
		s.leavesNothing(t)
	})
}

func (s *stage) firma(args ...string) world.Outcome {
	s.t.Helper()
	return s.Run(s.t, cmd(append([]string{s.Firma}, args...)...))
}

// othersCannotApprove: another account has neither the path nor the right.
func (s *stage) othersCannotApprove(t *testing.T, token, socket string) {
	t.Helper()
	all, err := account.All()
	must(t, err)
	for _, a := range all {
		if a.UID == s.Account.UID || a.UID == 0 {
			continue
		}
		other := *s.World
		other.Account = a
		o := other.Run(t, world.Command{Args: []string{s.Firma, "token", "approve", "--socket", socket, token}})
		if o.Code != 1 || !strings.Contains(o.Stderr, "permission denied") {
			t.Errorf("%s approves: status %d\n%s%s", a.Name, o.Code, o.Stdout, o.Stderr)
		}
	}
}

// TestWaitEnds without an approval: the command is not executed, the log says why
// and is whole.
func TestWaitEnds(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		for _, tt := range []struct {
			name string
			do   func(w *waiting, token string)
			want string
			last string // of the launch events
		}{
			{"revoked", func(w *waiting, token string) { s.firma("token", "revoke", token) },
				"Governance: the run's own command gate refused /usr/bin/touch: the approval was refused", "the approval was refused"},
			{"SIGTERM", func(w *waiting, token string) { w.signal(syscall.SIGTERM) },
				"Interrupted", "Interrupted"},
			{"Ctrl-C", func(w *waiting, _ string) { w.signal(syscall.SIGINT) }, "Interrupted", "Interrupted"},
		} {
			mark := s.Mark(t)
			w := s.begin(play{config: ownPending})
			token, _ := w.token()
			tt.do(w, token)
			if code, said := w.end(); code != 125 || !strings.Contains(said, tt.want) || s.executed() {
				t.Errorf("%s: status %d\n%s", tt.name, code, said)
			}
			r := result{events: s.Since(t, mark)}
			l := r.launches()
			if last := l[len(l)-1]; !strings.HasPrefix(last, "DENY | ExecDenied | /usr/bin/touch |") || !strings.Contains(last, tt.last) {
				t.Errorf("%s: recorded %q", tt.name, l)
			}
			if o := s.firma("audit", "verify"); o.Code != 0 {
				t.Errorf("%s: audit verify: %s%s", tt.name, o.Stdout, o.Stderr)
			}
			s.leavesNothing(t)
		}
	})
}

// TestTokenOfAnotherRun: an approval is worth nothing in another run, although the
// command is the same.
func TestTokenOfAnotherRun(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		one, two := s.begin(play{config: ownPending}), s.begin(play{config: ownPending, command: []string{"touch", "proof"}})
		tokenOne, socketOne := one.token()
		tokenTwo, socketTwo := two.token()
		if socketOne == socketTwo || tokenOne == tokenTwo {
			t.Fatalf("two runs share %s, %s", socketOne, tokenOne)
		}
		if o := s.firma("token", "approve", "--socket", socketTwo, tokenOne); o.Code != 1 || !strings.Contains(o.Stderr, "ApprovalNotFound") {
			t.Errorf("the other run's gate: status %d\n%s", o.Code, o.Stderr)
		}
		if o := s.firma("token", "revoke", tokenTwo); o.Code != 0 { // found among the runs under way
			t.Errorf("revoke: %s", o.Stderr)
		}
		if code, _ := two.end(); code != 125 || s.executed() {
			t.Errorf("the revoked run: status %d", code)
		}
		if o := s.firma("token", "approve", tokenOne); o.Code != 0 {
			t.Errorf("approve: %s", o.Stderr)
		}
		if code, said := one.end(); code != 0 || !s.executed() {
			t.Errorf("the approved run: status %d\n%s", code, said)
		}
	})
}

// TestAgentCannotReachIt: an agent that knows the paths finds nothing there, has no
// way to open such a socket, and can't start firma token with effect. A second run
// waits meanwhile, so the sockets exist.
func TestAgentCannotReachIt(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		w := s.begin(play{config: ownPending})
		token, socket := w.token()
		agent := s.write("home/project/agent.sh", `#!/bin/sh
for p in "$1" "$(dirname "$1")/local-exec.sock" "$(dirname "$1")"; do
	test -e "$p" && echo "SEES $p"
done
./firma token approve --socket "$1" "$2" && echo APPROVED
FIRMA_STATE_DIR="$3" ./firma token approve "$2" && echo APPROVED
touch proof2
`)
		world.CopyProgram(t, s.Firma, s.project("firma"))
		r := s.run(play{config: "", command: []string{agent, socket, token, filepath.Join(s.State, "firma")}})
		if r.Code != 0 || strings.Contains(r.Stdout, "SEES") || strings.Contains(r.Stdout, "APPROVED") || os.Remove(s.project("proof2")) != nil {
			t.Errorf("status %d\n%s%s", r.Code, r.Stdout, r.Stderr)
		}
		// The control: the same words outside approve.
		if o := s.firma("token", "approve", "--socket", socket, token); o.Code != 0 {
			t.Errorf("outside: %s", o.Stderr)
		}
		if code, said := w.end(); code != 0 || !s.executed() {
			t.Errorf("status %d\n%s", code, said)
		}
	})
}
