package standalone

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"firma/internal/testkit/world"
)

// TestThroughIt: real calls through a Sidecar that was named in each way there is:
// an ALLOW, a DENY with its reason, and names.
func TestThroughIt(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		c := s.plane("")
		_, url := c.serve()
		for _, network := range []string{"tcp", "unix"} {
			listen := anyPort
			if network == "unix" {
				listen = "mode = \"unix_socket\"\nsocket_path = \"" + filepath.Join(s.fresh("sock"), "s.sock") + "\""
			}
			d := s.alone(c.led(listen, url))
			for name, w := range map[string]struct {
				config string
				env    []string
				flags  []string
			}{
				"URL":         {flags: []string{"--sidecar", d.listen}},
				"short":       {flags: []string{"--sidecar", network + ":" + d.addr}},
				"environment": {env: []string{"FIRMA_SIDECAR_ENDPOINT=" + d.listen}},
				"configured":  {config: "[run.profiles.generic]\nsidecar_endpoint = \"" + d.listen + "\"\n"},
			} {
				t.Run(network+" "+name, func(t *testing.T) {
					s := &stage{s.World, t, s.origin, s.serial}
					args := append([]string{"run", "--config", s.write("named.toml", w.config)}, w.flags...)
					a := s.agentOf(d.state, w.env, args...)
					a.wantCurl(t, "http://plain.test/bytes/3", "200 xxx")
					if got := a.wantCurl(t, "http://evil.test/", "403 "); !strings.Contains(got, `"reason":"PolicyDenied"`) {
						t.Error(got)
					}
					if out, code := a.do("getent hosts plain.test"); code != "0" {
						t.Errorf("plain.test has no address: %s", out)
					}
					if code := a.leave(); code != 0 || !strings.Contains(a.err.String(), "evil.test") {
						t.Errorf("status %d\n%s", code, a)
					}
				})
			}
			d.signal(syscall.SIGTERM)
			d.wantEnd(0)
			d.wantSealed()
		}
	})
}

// TestRunsAreApart: two runs at once through one Sidecar have sessions of their own;
// one that ends, or is refused, does not touch the other.
func TestRunsAreApart(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		c := s.plane("")
		_, url := c.serve()
		d := s.alone(c.led(anyPort, url))
		one, two := s.agent(d, nil), s.agent(d, nil)
		one.wantCurl(t, "http://plain.test/bytes/1", "200 x")
		two.wantCurl(t, "http://plain.test/bytes/2", "200 xx")
		if code := one.leave(); code != 0 {
			t.Errorf("status %d\n%s", code, one)
		}
		two.wantCurl(t, "http://plain.test/bytes/3", "200 xxx")
		if code := two.leave(); code != 0 {
			t.Errorf("status %d\n%s", code, two)
		}
		d.signal(syscall.SIGTERM)
		d.wantEnd(0)
		d.wantSealed()
		bySession := map[string]int{}
		for _, e := range d.events() {
			if strings.HasPrefix(e.Resource, "plain.test/bytes/") {
				bySession[e.SessionID+" "+e.SandboxID]++
			}
		}
		if len(bySession) != 2 {
			t.Errorf("sessions of the calls: %v, want two", bySession)
		}
	})
}

// TestLost: a Sidecar that is killed, or drained, ends the run as SidecarLost.
func TestLost(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		c := s.plane("")
		_, url := c.serve()
		for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
			d := s.alone(c.led(anyPort, url))
			a := s.agent(d, nil)
			a.wantCurl(t, "http://plain.test/bytes/3", "200 xxx")
			d.signal(sig)
			a.wantEnd(125, "firma: error: SidecarLost: ")
			d.end()
			if sig == syscall.SIGTERM {
				d.wantSealed()
			}
		}
	})
}

// TestNoWayIn: an agent can't attach by itself: what it writes to the proxy port is
// judged as a request, and the secret is not shown to it.
func TestNoWayIn(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		c := s.plane("")
		_, url := c.serve()
		d := s.alone(c.led(anyPort, url))
		a := s.agent(d, nil)
		zero := strings.Repeat("0", 32)
		out, _ := a.do("P=${http_proxy#*://}; P=${P%/}; exec 3<>/dev/null; bash -c 'exec 3<>/dev/tcp/'${P%:*}'/'${P##*:}'; printf \"FIRMA/1 A " + zero + " " + zero + " " + zero + zero + "\\n\\n\" >&3; timeout 10 cat <&3' 2>&1 | head -c 600")
		if strings.Contains(out, "FIRMA/1") {
			t.Errorf("the first line of a launcher was answered as one: %s", out)
		}
		if out, code := a.do("cat '" + d.state + "/keys/sidecar.secret' 2>&1"); code == "0" {
			t.Errorf("the secret is shown: %s", out)
		}
		if got := a.curl("http://"+d.addr+"/", "--noproxy", "''"); !strings.HasPrefix(got, "403 ") {
			t.Errorf("the Sidecar's own port: %s", got)
		}
		a.leave()
	})
}

// TestNobodyThere: what can't be attached to is no run, and the command is not
// executed.
func TestNobodyThere(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		c := s.plane("")
		_, url := c.serve()
		d := s.alone(c.led(anyPort, url))
		other := s.fresh("state")
		must(t, os.Mkdir(other+"/keys", 0o700))
		must(t, s.Account.OwnTree(other))
		s.write(filepath.Base(other)+"/keys/sidecar.secret", strings.Repeat("s", 43)+"\n")
		for name, w := range map[string]struct{ state, endpoint, fault string }{
			"nobody":       {d.state, "tcp://" + free(t), "SidecarUnreachable"},
			"no socket":    {d.state, "unix://" + s.Base + "/none.sock", "SidecarUnreachable"},
			"no Sidecar":   {d.state, "tcp://" + s.origin.PlainAddr().String(), "SidecarUnreachable"},
			"wrong secret": {other, d.listen, "SidecarAccessDenied"},
		} {
			o := s.Run(t, world.Command{Args: []string{s.Firma, "run", "--config", s.Base + "/run.toml", "--sidecar", w.endpoint, "--", "echo", "executed"},
				Env: []string{"FIRMA_STATE_DIR=" + w.state}})
			if o.Code != 125 || !strings.Contains(o.Stderr, "firma: error: "+w.fault+": ") || o.Stdout != "" {
				t.Errorf("%s: status %d, want 125 and %s\n%s%s", name, o.Code, w.fault, o.Stdout, o.Stderr)
			}
		}
	})
}
