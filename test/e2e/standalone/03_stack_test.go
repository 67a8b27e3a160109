package standalone

import (
	"encoding/json"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"firma/internal/testkit/world"
)

// TestStack: start --detach, status, a second start, stop; and again after a hard
// kill.
func TestStack(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		state := s.fresh("state")
		config := s.write("stack.toml", s.base(anyPort))
		health := "FIRMA_SIDECAR_HEALTH_BIND_ADDR=" + free(t)
		start := func(more ...string) world.Outcome {
			return s.Run(t, s.command(state, []string{health}, append([]string{"sidecar", "start", "--config", config}, more...)...))
		}
		stop := func() {
			if o := s.firma(state, "sidecar", "stop"); o.Code != 0 {
				t.Errorf("stop: status %d\n%s", o.Code, o.Stderr)
			}
		}
		defer stop()
		if o := s.firma(state, "sidecar", "status", "--daemon"); o.Code != 1 || !strings.Contains(o.Stdout, "stopped") {
			t.Errorf("status before: %d\n%s", o.Code, o.Stdout)
		}
		for _, hard := range []bool{false, true} {
			if o := start("--detach"); o.Code != 0 {
				t.Fatalf("start: status %d\n%s", o.Code, o.Stderr)
			}
			pids := services(t, s.firma(state, "sidecar", "status", "--daemon", "--json"), 0, "running")
			if o := start(); o.Code != 2 || !strings.Contains(o.Stderr, "StackRunning") {
				t.Errorf("second start: status %d\n%s", o.Code, o.Stderr)
			}
			if hard {
				must(t, syscall.Kill(pids["supervisor"], syscall.SIGKILL))
				must(t, syscall.Kill(pids["sidecar"], syscall.SIGKILL))
			} else {
				must(t, syscall.Kill(pids["sidecar"], syscall.SIGSTOP))
				o := s.firma(state, "sidecar", "status", "--daemon", "--json")
				for n := 0; o.Code == 0 && n < 200; n++ { // the signal takes effect later
					o = s.firma(state, "sidecar", "status", "--daemon", "--json")
				}
				services(t, o, 1, "unhealthy")
				must(t, syscall.Kill(pids["sidecar"], syscall.SIGCONT))
			}
			stop()
			services(t, s.firma(state, "sidecar", "status", "--daemon", "--json"), 1, "stopped")
			for _, f := range []string{"stack.pid", "sidecar.pid", "sidecar.listen"} {
				if _, err := os.Stat(state + "/" + f); err == nil {
					t.Errorf("%s was left", f)
				}
			}
		}
	})
}

// services is the JSON of status --daemon: the pids by component. The Sidecar must
// be in the state, and the exit status code.
func services(t *testing.T, o world.Outcome, code int, state string) map[string]int {
	t.Helper()
	var list []struct {
		Component, State string
		PID              int
	}
	if err := json.Unmarshal([]byte(o.Stdout), &list); err != nil || o.Code != code {
		t.Fatalf("status: %d, want %d, %v\n%s%s", o.Code, code, err, o.Stdout, o.Stderr)
	}
	pids := map[string]int{}
	for _, c := range list {
		pids[c.Component] = c.PID
		if c.Component == "sidecar" && c.State != state {
			t.Errorf("the Sidecar is %s, want %s", c.State, state)
		}
	}
	return pids
}

// TestStackRollsBack: a start that fails leaves no Authority and no files of one.
func TestStackRollsBack(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer taken.Close()
		c := s.plane("")
		text, err := os.ReadFile(c.config)
		must(t, err)
		s.write(strings.TrimPrefix(c.dir, s.Base+"/")+"/rules.toml", rules)
		s.write(strings.TrimPrefix(c.config, s.Base+"/"), string(text)+s.base("listen_addr = \""+taken.Addr().String()+"\""))
		o := s.Run(t, s.command(c.state, []string{"FIRMA_SIDECAR_HEALTH_BIND_ADDR=" + free(t)}, "sidecar", "start", "--config", c.config))
		if o.Code != 2 || !strings.Contains(o.Stderr, "SidecarListenFailed") {
			t.Errorf("status %d\n%s", o.Code, o.Stderr)
		}
		for _, f := range []string{"stack.pid", "sidecar.pid", "authority.pid", "authority.listen"} {
			if _, err := os.Stat(c.state + "/" + f); err == nil {
				t.Errorf("%s was left", f)
			}
		}
	})
}

// TestRunsAreListed: a run's own Sidecar is listed while it lasts; an id that is
// none is refused.
func TestRunsAreListed(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		state := s.fresh("state")
		a := s.agentOf(state, nil, "run", "--config", s.Base+"/run.toml", "--authority", "local")
		o := s.firma(state, "sidecar", "status", "--json")
		var runs []struct {
			SandboxID string `json:"sandbox_id"`
			State     string
		}
		must(t, json.Unmarshal([]byte(o.Stdout), &runs))
		if o.Code != 0 || len(runs) != 1 || runs[0].State != "running" {
			t.Errorf("status %d\n%s", o.Code, o.Stdout)
		}
		a.leave()
		if o := s.firma(state, "sidecar", "status", "--json"); o.Code != 0 || strings.TrimSpace(o.Stdout) != "[]" {
			t.Errorf("afterwards: status %d\n%s", o.Code, o.Stdout)
		}
		for _, id := range []string{"../x", "sbx_", "sbx_../../../../etc"} {
			if o := s.firma(state, "sidecar", "status", "--sandbox-id", id); o.Code != 2 || !strings.Contains(o.Stderr, "ArgumentInvalid") {
				t.Errorf("%q: status %d\n%s", id, o.Code, o.Stderr)
			}
		}
	})
}

// TestStackInFront: in the foreground, with an Authority of its own; a run goes
// through it; Ctrl-C reaches the whole group and ends everything in order.
func TestStackInFront(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		c := s.plane("")
		text, err := os.ReadFile(c.config)
		must(t, err)
		s.write(strings.TrimPrefix(c.dir, s.Base+"/")+"/rules.toml", rules)
		s.write(strings.TrimPrefix(c.config, s.Base+"/"), string(text)+s.base("listen_addr = \""+free(t)+"\""))
		p := s.start(c.state, []string{"FIRMA_SIDECAR_HEALTH_BIND_ADDR=" + free(t)}, "sidecar", "start", "--config", c.config)
		p.says("stack ready")
		pids := services(t, s.firma(c.state, "sidecar", "status", "--daemon", "--json"), 0, "running")
		if pids["authority"] == 0 || pids["supervisor"] != p.cmd.Process.Pid {
			t.Errorf("%v, of process %d\n%s", pids, p.cmd.Process.Pid, p)
		}
		listen, err := os.ReadFile(c.state + "/sidecar.listen")
		must(t, err)
		d := &side{s: s, state: c.state, listen: "tcp://" + strings.TrimSpace(string(listen))}
		a := s.agent(d, nil)
		a.wantCurl(t, "http://plain.test/bytes/3", "200 xxx")
		a.wantCurl(t, "http://evil.test/bytes/3", "403 ")
		a.leave()
		p.signal(syscall.SIGINT)
		p.wantEnd(0)
		services(t, s.firma(c.state, "sidecar", "status", "--daemon", "--json"), 1, "stopped")
		for _, f := range []string{"stack.pid", "sidecar.pid", "sidecar.listen", "authority.pid", "authority.listen"} {
			if _, err := os.Stat(c.state + "/" + f); err == nil {
				t.Errorf("%s was left", f)
			}
		}
		if o := s.firma(c.state, "audit", "verify"); o.Code != 0 || !strings.HasPrefix(o.Stdout, "OK ") {
			t.Errorf("audit verify: status %d\n%s%s", o.Code, o.Stdout, o.Stderr)
		}
		s.wantNobody(t)
	})
}
