package localexec

import (
	"bufio"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"firma/internal/testkit/world"
)

// alone starts a Sidecar by hand that serves a gate beside its socket, waits until
// it is ready and returns the flag that makes a run use it.
func (s *stage) alone(action string) (flag string) {
	s.t.Helper()
	socket := filepath.Join(s.dir("side"), "s.sock")
	config := s.write("side.toml", fmt.Sprintf("[sidecar.interceptor]\nmode = \"unix_socket\"\nsocket_path = %q\n[sidecar.local_exec]\ndefault_action = %q\nretry_after = \"20ms\"\n", socket, action))
	ctx, cancel := context.WithCancel(context.Background())
	c := s.Prepare(ctx, cmd(s.Firma, "sidecar", "--config", config, "--health-bind-addr", "127.0.0.1:0"))
	pipe, err := c.StderrPipe()
	must(s.t, err)
	must(s.t, c.Start())
	s.t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
		cancel()
	})
	in := bufio.NewReader(pipe)
	said := ""
	for !strings.Contains(said, "msg=ready") {
		text, err := in.ReadString('\n')
		said += text
		if err != nil {
			s.t.Fatalf("the Sidecar: %v\n%s", err, said)
		}
	}
	go func() { _, _ = in.WriteTo(discard{}) }()
	return "unix://" + socket
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

const asks = "[run.profiles.codex.sidecar_local_exec]\nhitl_mode = \"async_token\"\n"

// TestSidecarAlone: the gate of a Sidecar that serves many runs is beside its
// socket, and keeps their approvals apart.
func TestSidecarAlone(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		for _, action := range []string{"deny", "allow"} {
			t.Run(action, func(t *testing.T) {
				s := &stage{s.World, t}
				flag := s.alone(action)
				r := s.run(play{config: asks, external: flag})
				if action == "allow" {
					s.wantExecuted(t, r)
					return
				}
				s.wantRefused(t, r, "/side/s-tools.sock refused /usr/bin/touch: denied by default_action")
			})
		}
		t.Run("approval", func(t *testing.T) {
			s := &stage{s.World, t}
			flag := s.alone("pending_hitl")
			one, two := s.begin(play{config: asks, external: flag}), s.begin(play{config: asks, external: flag})
			tokenOne, _ := one.token()
			tokenTwo, _ := two.token()
			for _, c := range [][]string{{"revoke", tokenTwo}, {"approve", tokenOne}} {
				o := s.Run(t, world.Command{Args: []string{s.Firma, "token", c[0], "--config", filepath.Join(s.Base, "side.toml"), c[1]}})
				if o.Code != 0 {
					t.Errorf("%s: %s", c[0], o.Stderr)
				}
				if c[0] == "revoke" {
					if code, said := two.end(); code != 125 || s.executed() {
						t.Errorf("the revoked run: status %d\n%s", code, said)
					}
				}
			}
			if code, said := one.end(); code != 0 || !s.executed() {
				t.Errorf("the approved run: status %d\n%s", code, said)
			}
		})
	})
}
