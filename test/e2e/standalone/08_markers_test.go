package standalone

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestDetachedWithAuthority: start --detach with an Authority of its own, a run
// through both, and stop ends all of it.
func TestDetachedWithAuthority(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		c := s.plane("")
		text, err := os.ReadFile(c.config)
		must(t, err)
		s.write(strings.TrimPrefix(c.dir, s.Base+"/")+"/rules.toml", rules)
		s.write(strings.TrimPrefix(c.config, s.Base+"/"), string(text)+s.base("listen_addr = \""+free(t)+"\""))
		env := []string{"FIRMA_SIDECAR_HEALTH_BIND_ADDR=" + free(t)}
		o := s.Run(t, s.command(c.state, env, "sidecar", "start", "--detach", "--config", c.config))
		if o.Code != 0 || !strings.Contains(o.Stdout, "end it with: firma sidecar stop") {
			t.Fatalf("start: status %d\n%s%s", o.Code, o.Stdout, o.Stderr)
		}
		pids := services(t, s.firma(c.state, "sidecar", "status", "--daemon", "--json"), 0, "running")
		if pids["supervisor"] == 0 || pids["authority"] == 0 || pids["sidecar"] == 0 {
			t.Errorf("%v", pids)
		}
		listen, err := os.ReadFile(c.state + "/sidecar.listen")
		must(t, err)
		a := s.agent(&side{s: s, state: c.state, listen: "tcp://" + strings.TrimSpace(string(listen))}, nil)
		a.wantCurl(t, "http://plain.test/bytes/3", "200 xxx")
		a.wantCurl(t, "http://evil.test/bytes/3", "403 ")
		a.leave()
		o = s.firma(c.state, "sidecar", "stop")
		// Of the others it says so only where they did not end with the Sidecar.
		if o.Code != 0 || !strings.HasPrefix(o.Stdout, fmt.Sprintf("sidecar (pid %d) ended\n", pids["sidecar"])) {
			t.Errorf("stop: status %d\n%s%s", o.Code, o.Stdout, o.Stderr)
		}
		if o := s.firma(c.state, "sidecar", "stop"); o.Code != 0 || !strings.Contains(o.Stdout, "nothing is running") {
			t.Errorf("second stop: status %d\n%s%s", o.Code, o.Stdout, o.Stderr)
		}
		if o := s.firma(c.state, "audit", "verify"); o.Code != 0 {
			t.Errorf("audit verify: status %d\n%s%s", o.Code, o.Stdout, o.Stderr)
		}
		s.wantNobody(t)
	})
}

// TestStrayMarkers: files of a stack that say nothing, or name somebody else's
// process: status tells them apart, and stop ends nothing that is not the stack's.
func TestStrayMarkers(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		state := s.fresh("state")
		for _, text := range []string{"", "no number\n", "-1\n"} {
			s.write(filepath.Base(state)+"/sidecar.pid", text)
			services(t, s.firma(state, "sidecar", "status", "--daemon", "--json"), 1, "unknown")
			if o := s.firma(state, "sidecar", "status", "--daemon"); o.Code != 1 || !strings.Contains(o.Stdout, "unknown") {
				t.Errorf("%q: status %d\n%s", text, o.Code, o.Stdout)
			}
			if o := s.firma(state, "sidecar", "stop"); o.Code != 2 || !strings.Contains(o.Stderr, "firma: error: StackNotStopped: ") {
				t.Errorf("%q: stop: status %d\n%s", text, o.Code, o.Stderr)
			}
		}
		// Another program of this account that was given a number of the stack's.
		other := s.start(s.fresh("state"), nil, "run", "--config", s.Base+"/run.toml", "--authority", "local", "--", "sh", "-c", "echo up; read -r line")
		if other.out.Wait(0, "up") < 0 {
			t.Fatal(other)
		}
		s.write(filepath.Base(state)+"/sidecar.pid", fmt.Sprintf("%d\n1\n", other.cmd.Process.Pid))
		services(t, s.firma(state, "sidecar", "status", "--daemon", "--json"), 1, "stopped")
		if o := s.firma(state, "sidecar", "stop"); o.Code != 0 || !strings.Contains(o.Stdout, "nothing is running") {
			t.Errorf("stop: status %d\n%s%s", o.Code, o.Stdout, o.Stderr)
		}
		fmt.Fprintln(other.in, "end")
		other.wantEnd(0)
	})
}

// TestKilledRun: a run that was killed is listed as stopped, once; what lies beside
// its marker and is none is not listed.
func TestKilledRun(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		state := s.fresh("state")
		a := s.agentOf(state, nil, "run", "--config", s.Base+"/run.toml", "--authority", "local")
		for _, stray := range []string{"/run/sbx_none/metadata.toml", "/run/note/metadata.toml"} {
			s.write(filepath.Base(state)+stray, "sandbox_id = 1\n")
		}
		list := func(code int) []string {
			t.Helper()
			o := s.firma(state, "sidecar", "status", "--json")
			var runs []struct{ State string }
			if err := json.Unmarshal([]byte(o.Stdout), &runs); err != nil || o.Code != code {
				t.Fatalf("status %d, want %d, %v\n%s%s", o.Code, code, err, o.Stdout, o.Stderr)
			}
			var states []string
			for _, r := range runs {
				states = append(states, r.State)
			}
			return states
		}
		if got := list(0); len(got) != 1 || got[0] != "running" {
			t.Errorf("%q", got)
		}
		a.signal(syscall.SIGKILL)
		a.end()
		s.wantNobody(t)
		if got := list(1); len(got) != 1 || got[0] != "stopped" {
			t.Errorf("killed: %q", got)
		}
		if got := list(0); len(got) != 0 {
			t.Errorf("once more: %q", got)
		}
	})
}
