package localexec

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	contract "firma/internal/localexec"
	"firma/internal/testkit/world"
)

// TestAsked is the control of all refusals: a gate that says allow is asked once,
// about the right thing, and the command is executed.
func TestAsked(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		for _, network := range []string{"unix", "tcp"} {
			g := s.gate(network, says(allow))
			r := s.run(play{config: g.config(), env: []string{"FIRMA_BUDGET_STATE_REF=ledger://team/7 x"}})
			s.wantExecuted(t, r)
			asked := g.requests()
			if len(asked) != 1 {
				t.Fatalf("asked %d times", len(asked))
			}
			last := r.events[len(r.events)-1]
			want := contract.Request{
				Action: "local.exec", Executable: "/usr/bin/touch", Args: []string{"proof"}, Profile: "codex", Mode: contract.SyncWait,
				SandboxID: last.SandboxID, SessionID: last.SessionID, AgentID: "local-dev", BudgetStateRef: "ledger://team/7 x",
			}
			want.Fingerprint = contract.FingerprintOf(&want)
			if diff := cmp.Diff(want, asked[0]); diff != "" || want.SandboxID == "" || want.SessionID == "" {
				t.Errorf("asked:\n%s", diff)
			}
			if l := r.launches(); len(l) != 1 || !strings.HasPrefix(l[0], "ALLOW |  | /usr/bin/touch |") {
				t.Errorf("recorded %q", l)
			}
			if o := s.Run(t, cmd(s.Firma, "audit", "verify")); o.Code != 0 {
				t.Errorf("audit verify: %s%s", o.Stdout, o.Stderr)
			}
		}
	})
}

// TestExecutable: what is asked about is the file that is executed, by its one
// name on the host, however the command spells it.
func TestExecutable(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		real := s.script("tools/real.sh")
		must(t, errors.Join(os.Symlink("tools/real.sh", s.project("link")), os.Symlink("link", s.project("chain")),
			s.Account.Own(s.project("link"), s.project("chain"), s.project("tools"))))
		for _, tt := range []struct{ command, executable, invoked, proof string }{
			{"./tools/real.sh", real, "", "./tools/real.sh a b\n"},
			{real, real, "", real + " a b\n"},
			{"tools/../tools/real.sh", real, "", "tools/../tools/real.sh a b\n"},
			{"./link", real, "link", "./link a b\n"},
			{"./chain", real, "chain", "./chain a b\n"},
		} {
			g := s.gate("unix", says(allow))
			r := s.run(play{config: g.config(), command: []string{tt.command, "a", "b"}})
			proof, _ := os.ReadFile(s.project("proof"))
			if r.Code != 0 || string(proof) != tt.proof {
				t.Errorf("%s: status %d, left %q\n%s", tt.command, r.Code, proof, r.Stderr)
			}
			s.executed()
			if a := g.requests(); len(a) != 1 || a[0].Executable != tt.executable || a[0].InvokedAs != tt.invoked || !cmp.Equal(a[0].Args, []string{"a", "b"}) {
				t.Errorf("%s: asked %+v", tt.command, a)
			}
		}
	})
}

// TestNothingToAsk: a command that is not there, or not on the host, is not
// executed, and the gate is not asked.
func TestNothingToAsk(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		s.write("home/project/data", "")
		must(t, os.Chmod(s.project("data"), 0o644))
		for _, tt := range []struct {
			command []string
			code    int
			want    string
		}{
			{[]string{"no-such-program"}, 127, "CommandNotFound"},
			{[]string{"./data"}, 126, "CommandNotExecutable"},
			{[]string{"."}, 126, "CommandNotExecutable"},
			{[]string{"/proc/self/exe"}, 125, "Governance: /proc/self/exe exists only inside the sandbox"},
			{[]string{"/dev/fd/3"}, 125, "Governance: /dev/fd/3 exists only inside the sandbox"},
			{[]string{"touch", "\xff"}, 125, "Governance: the command can't be put to the command gate"},
		} {
			g := s.gate("unix", says(allow))
			r := s.run(play{config: g.config(), command: tt.command})
			if r.Code != tt.code || !strings.Contains(r.Stderr, tt.want) || len(g.requests()) != 0 {
				t.Errorf("%q: status %d, asked %d times\n%s", tt.command, r.Code, len(g.requests()), r.Stderr)
			}
			if l := r.launches(); len(l) != 1 || !strings.HasPrefix(l[0], "DENY | ExecDenied |") {
				t.Errorf("%q: recorded %q", tt.command, l)
			}
		}
	})
}

// TestSwapped: the file is changed while the gate decides; what is there now is
// not what was allowed.
func TestSwapped(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		for name, change := range map[string]func(at string) error{
			"other content": func(at string) error { return os.WriteFile(at, []byte("#!/bin/sh\necho evil > proof\n"), 0o755) },
			"another file":  func(at string) error { return os.Rename(s.script("evil.sh"), at) },
			"a link":        func(at string) error { return errors.Join(os.Remove(at), os.Symlink(s.script("evil.sh"), at)) },
			"its mode":      func(at string) error { return os.Chmod(at, 0o700) },
		} {
			at := s.script("run.sh")
			g := s.gate("unix", func(c net.Conn, _ contract.Request) {
				if err := change(at); err != nil {
					t.Error(err)
				}
				must(t, s.Account.Own(at))
				_, _ = io.WriteString(c, allow)
			})
			r := s.run(play{config: g.config(), command: []string{"./run.sh"}})
			t.Log(name)
			if r.Code != 125 || !strings.Contains(r.Stderr, "Governance: ./run.sh is no longer the file that the command gate was asked about") || s.executed() {
				t.Errorf("%s: status %d\n%s", name, r.Code, r.Stderr)
			}
			must(t, os.Remove(at))
		}
	})
}

func TestKnownExecutables(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		s.script("touch") // a file of the agent's own, with a known name
		must(t, os.Symlink("/usr/bin/touch", filepath.Join(s.dir("links"), "t")))
		for _, tt := range []struct {
			allowed string
			command []string
			ok      bool
		}{
			{`"/usr/bin/touch"`, nil, true},
			{`"/bin/touch"`, nil, true}, // a link to it
			{`"/none", "` + s.Base + `/links/t"`, nil, true},
			{`"/usr/bin/touch"`, []string{"./touch"}, false},
			{`"/usr/bin/true"`, nil, false},
			{`"/none"`, nil, false},
			{`"/usr/bin"`, nil, false},
		} {
			g := s.gate("unix", says(allow))
			r := s.run(play{config: g.config("enforce_known_executables = true", "allowed_executables = ["+tt.allowed+"]"), command: tt.command})
			if tt.ok {
				s.wantExecuted(t, r)
			} else {
				s.wantRefused(t, r, "is not one of the allowed executables")
			}
			if n := len(g.requests()); (n == 1) != tt.ok {
				t.Errorf("%s: asked %d times", tt.allowed, n)
			}
		}
		r := s.run(play{config: s.gate("unix", says(allow)).config("enforce_known_executables = true")})
		if r.Code != 125 || !strings.Contains(r.Stderr, "ConfigValidation") || s.executed() {
			t.Errorf("an empty list: status %d\n%s", r.Code, r.Stderr)
		}
	})
}

// TestRequired: an operator can demand a gate for every run.
func TestRequired(t *testing.T) {
	const name = "FIRMA_RUN_REQUIRE_LOCAL_EXEC_GOVERNANCE="
	everyone(t, func(t *testing.T, s *stage) {
		for _, value := range []string{"1", "true", "YES", "On"} {
			s.wantRefused(t, s.run(play{env: []string{name + value}}), "is set, and no command gate is configured")
		}
		s.wantRefused(t, s.run(play{env: []string{name + "ture"}}), "neither true nor false")
		for _, value := range []string{"", "0", "false", "no", "off"} {
			s.wantExecuted(t, s.run(play{env: []string{name + value}}))
		}
		g := s.gate("unix", says(allow))
		s.wantExecuted(t, s.run(play{config: g.config(), env: []string{name + "true"}}))
		// A gate that is configured for another profile is none.
		s.wantRefused(t, s.run(play{config: strings.Replace(g.config(), "codex", "other", 1), env: []string{name + "true"}}), "no command gate is configured")
	})
}

// TestShownSocket: a socket that the agent could see is not used at all.
func TestShownSocket(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		inProject := s.project("gate.sock")
		must(t, errors.Join(os.Symlink(s.Project, filepath.Join(s.Base, "alias")), os.MkdirAll(s.project("sub"), 0o755), s.Account.Own(s.project("sub"))))
		for name, config := range map[string]string{
			"endpoint":           "[run.defaults.sidecar_local_exec]\nendpoint = \"unix:" + inProject + "\"\n",
			"endpoint by a link": "[run.defaults.sidecar_local_exec]\nendpoint = \"unix:" + s.Base + "/alias/gate.sock\"\n",
			"own socket":         "[sidecar.local_exec]\ndefault_action = \"allow\"\nsocket_path = \"" + s.project("sub/gate.sock") + "\"\n",
			"own approvals":      "[sidecar.local_exec]\ndefault_action = \"allow\"\nsocket_path = \"" + s.Base + "/x/gate.sock\"\nmanagement_socket_path = \"" + s.project("sub/a.sock") + "\"\n",
			"endpoint in /usr":   "[run.defaults.sidecar_local_exec]\nendpoint = \"unix:/usr/lib/gate.sock\"\n",
			"a deeper new place": "[sidecar.local_exec]\nsocket_path = \"" + s.project("not/yet/gate.sock") + "\"\n",
		} {
			for _, profile := range []string{"generic", "codex"} {
				r := s.run(play{config: config, profile: profile, command: []string{"/usr/bin/touch", "proof"}})
				s.wantRefused(t, r, "would be visible to the agent")
				if t.Failed() {
					t.Fatal(name, profile)
				}
			}
		}
	})
}

// TestDeadlineRests: the wait for the gate is not the start's.
func TestDeadlineRests(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		g := s.gate("unix", func(c net.Conn, _ contract.Request) {
			time.Sleep(3500 * time.Millisecond) // longer than the start may take
			_, _ = io.WriteString(c, allow)
		})
		s.wantExecuted(t, s.run(play{config: g.config(`timeout = "30s"`), flags: []string{"--sidecar-startup-timeout-secs", "3"}}))
	})
}

func cmd(args ...string) world.Command { return world.Command{Args: args} }
