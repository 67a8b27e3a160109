package standalone

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"firma/internal/attach"
	"firma/internal/testkit/account"
	"firma/internal/testkit/census"
	"firma/internal/testkit/world"
)

// shared is a Sidecar that several runs may attach to: tls.test is looked into, of
// tun.test only a tunnel to port 7000 is mapped.
// more are lines of [sidecar.interceptor], in place of where it listens if they say so.
func (s *stage) shared(c *controlPlane, url string, more ...string) *side {
	s.t.Helper()
	s.write("ca.pem", string(s.origin.CAPEM()))
	s.write("shared.toml", rules+`
[[rules]]
method = "GET"
host = "tls.test"
path = "/admin/**"
action_class = "repo.admin"

[[rules]]
method = "GET"
host = "tls.test"
path = "/**"
action_class = "code.read"

[[rules]]
method = "POST"
host = "tls.test"
path = "/**"
action_class = "code.write"

[[rules]]
method = "CONNECT"
host = "tun.test:7000"
action_class = "code.read"
tunnel_accepts = ["non_tls"]
`)
	interceptor := anyPort
	if lines := strings.Join(more, "\n"); strings.HasPrefix(lines, anyPort) {
		interceptor = lines
	} else if lines != "" {
		interceptor += "\n" + lines
	}
	config := strings.Replace(c.led(interceptor, url), "rules.toml", "shared.toml", 1)
	config = strings.Replace(config, "[sidecar.egress.hosts]\n", fmt.Sprintf("[sidecar.egress]\nca_cert_path = %q\n[sidecar.egress.hosts]\n\"tls.test\" = %q\n\"tun.test\" = %q\n",
		s.Base+"/ca.pem", s.origin.TLSAddr().String(), s.origin.PlainAddr().String()), 1)
	return s.alone(config)
}

// TestCountersAreApart: a policy on action_count stops the run that reached it and
// no other.
func TestCountersAreApart(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		s.write("counted/all.cedar", "permit (principal, action, resource);\n")
		s.write("counted/budget.cedar", "@id(\"budget\") forbid (principal, action, resource) when { context.action_count > 3 };\n")
		c := s.plane(fmt.Sprintf("policy_dir = %q\n", s.Base+"/counted"))
		_, url := c.serve()
		d := s.shared(c, url)
		one, two := s.agent(d, nil), s.agent(d, nil)
		for range 3 {
			one.wantCurl(t, "http://plain.test/bytes/1", "200 x")
		}
		if got := one.wantCurl(t, "http://plain.test/bytes/1", "403 "); !strings.Contains(got, "CapabilityScopeMismatch") {
			t.Error(got)
		}
		for range 3 {
			two.wantCurl(t, "http://plain.test/bytes/1", "200 x")
		}
		one.leave()
		two.leave()
	})
}

// TestLookedInto: each run trusts the Sidecar's certificate, and what is inside is
// judged and recorded under that run's session.
func TestLookedInto(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		c := s.plane("")
		_, url := c.serve()
		d := s.shared(c, url)
		one, two := s.agent(d, nil, "--capability-file", c.issue("one")), s.agent(d, nil, "--capability-file", c.issue("two"))
		for name, a := range map[string]*agent{"one": one, "two": two} {
			a.wantCurl(t, "https://tls.test/bytes/3?"+name, "200 xxx")
			a.wantCurl(t, "https://tls.test/admin/"+name, "403 ")
		}
		one.leave()
		two.leave()
		for _, e := range d.events() {
			if name := filepath.Base(e.Resource); strings.Contains(e.Resource, "tls.test/admin/") && e.SessionID != name {
				t.Errorf("%s is recorded under %q", e.Resource, e.SessionID)
			}
		}
		for _, session := range []string{"one", "two"} {
			allowed, denied := false, false
			for _, e := range d.events() {
				if e.SessionID == session && e.Kind == "request" {
					allowed = allowed || e.Outcome == "ALLOW" && strings.HasPrefix(e.Resource, "tls.test/bytes/3")
					denied = denied || e.Outcome == "DENY" && e.Resource == "tls.test/admin/"+session
				}
			}
			if !allowed || !denied {
				t.Errorf("session %s: ALLOW recorded %v, DENY recorded %v", session, allowed, denied)
			}
		}
	})
}

// TestRevokedUnderWay: a call that is open is cut when its capability is revoked,
// a streaming response like a tunnel; the record says why, and a run of another
// capability goes on. A session in use is nobody else's.
func TestRevokedUnderWay(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		c := s.plane("")
		_, url := c.serve()
		d := s.shared(c, url)
		other := s.agent(d, nil, "--capability-file", c.issue("other"))
		for name, line := range map[string]string{
			"response": "curl -sSN http://plain.test/sse?n=1200\\&ms=100 2>&1 | tail -n 3",
			"tunnel":   "curl -sSNp -x \"$http_proxy\" http://tun.test:7000/sse?n=1200\\&ms=100 2>&1 | tail -n 3",
		} {
			s.origin.Reset()
			seed := c.issue("s-" + name)
			a := s.agent(d, nil, "--capability-file", seed)
			o := s.Run(t, s.command(d.state, nil, "run", "--config", s.Base+"/run.toml", "--sidecar", d.listen, "--capability-file", seed, "--", "echo", "executed"))
			if o.Code != 125 || !strings.Contains(o.Stderr, "firma: error: SessionInUse: ") || o.Stdout != "" {
				t.Errorf("%s: the session in use: status %d\n%s", name, o.Code, o.Stderr)
			}
			fmt.Fprintln(a.in, line)
			_, err := s.origin.Wait(t.Context(), func(r record) bool { return strings.HasPrefix(r.Path, "/sse") })
			must(t, err)
			if o := s.firma(c.state, "authority", "-c", c.config, "revocations", "add", tokenID(s, seed)); o.Code != 0 {
				t.Fatal(o.Stderr)
			}
			if a.said = a.out.Wait(a.said, ":\n"); a.said < 0 {
				t.Fatalf("%s: it was not cut\n%s", name, a)
			}
			if !strings.Contains(a.out.String(), "curl: (") {
				t.Errorf("%s: curl saw no cut\n%s", name, a)
			}
			other.wantCurl(t, "http://plain.test/bytes/1", "200 x")
			a.leave()
			recorded := false
			for _, e := range d.events() {
				recorded = recorded || e.SessionID == "s-"+name && e.Kind != "request" && strings.Contains(string(e.Raw), "CapabilityRevoked")
			}
			if !recorded {
				t.Errorf("%s: the cut is not recorded as CapabilityRevoked", name)
			}
		}
		other.leave()
	})
}

// TestNothingIsLeft: once the Sidecar was killed, the run is over and none of its
// processes is left.
func TestNothingIsLeft(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		c := s.plane("")
		p, url := c.serve()
		d := s.shared(c, url)
		a := s.agent(d, nil)
		must(t, p.cmd.Process.Kill())
		p.end()
		must(t, d.cmd.Process.Kill())
		d.end()
		a.wantEnd(125, "firma: error: SidecarLost: ")
		s.wantNobody(t)
	})
}

// wantNobody fails when a process of this stage's firma is there.
func (s *stage) wantNobody(t *testing.T) {
	t.Helper()
	c, err := census.Take(census.Scope{Programs: []string{s.Firma}, Marker: s.Base})
	for n := 0; err == nil && len(c.Processes) > 0 && n < 500; n++ { // the kernel ends them after their parent
		c, err = census.Take(census.Scope{Programs: []string{s.Firma}, Marker: s.Base})
	}
	must(t, err)
	for _, p := range c.Processes {
		t.Errorf("still there: %d %s %q", p.PID, p.State, p.Args)
	}
}

// TestAnotherAccounts: an ordinary account's run gets nothing from root's Sidecar,
// and is told what to do.
func TestAnotherAccounts(t *testing.T) {
	all, err := account.All()
	must(t, err)
	var ordinary *account.Account
	for i := range all {
		if all[i].Ordinary() {
			ordinary = &all[i]
		}
	}
	if len(all) < 2 || ordinary == nil {
		t.Skip("one account only")
	}
	everyone(t, func(t *testing.T, s *stage) {
		if s.Account.Ordinary() {
			return // it is root's Sidecar that is tried
		}
		c := s.plane("")
		_, url := c.serve()
		w := world.New(t, *ordinary)
		s.write("open/note", "a directory that all may enter\n")
		for _, listen := range []string{anyPort, "mode = \"unix_socket\"\nsocket_path = \"" + s.Base + "/open/s.sock\""} {
			d := s.alone(c.led(listen, url))
			o := w.Run(t, world.Command{Args: []string{w.Firma, "run", "--sidecar", d.listen, "--", "echo", "executed"}, Env: []string{"FIRMA_STATE_DIR=" + w.State + "/firma"}})
			if o.Code != 125 || !strings.Contains(o.Stderr, "firma: error: SidecarAccessDenied: ") || !strings.Contains(o.Stderr, "firma: fix: ") || o.Stdout != "" {
				t.Errorf("%s: status %d\n%s%s", d.listen, o.Code, o.Stdout, o.Stderr)
			}
		}
	})
}

// TestForgedLines: what firma's own connections begin with opens nothing to an
// agent, nor to a client of the port: it is a malformed request of theirs, or it is
// cut; and the run that it names goes on.
func TestForgedLines(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		c := s.plane("")
		_, url := c.serve()
		d := s.shared(c, url)
		a := s.agent(d, nil, "--capability-file", c.issue("forger"))
		id, _ := a.do("echo $FIRMA_RUN_SANDBOX_ID")
		for _, kind := range []string{"A", "R", "D", "C", "Z"} {
			line := attach.Magic + kind + " " + strings.Repeat("0", 32) + " " + strings.Repeat("0", 32) + " " + strings.Repeat("0", 64) + "\n"
			got, _ := a.do(fmt.Sprintf(`python3 -c 'import os, socket, urllib.parse; u = urllib.parse.urlsplit(os.environ["http_proxy"]); '`+
				`'s = socket.create_connection((u.hostname, u.port), 10); s.sendall(%q.encode()); s.shutdown(socket.SHUT_WR); '`+
				`'print(s.recv(4096).split(b"\r\n")[0].decode())'`, line+"GET http://plain.test/forged HTTP/1.1\r\nHost: plain.test\r\n\r\n"))
			if !strings.HasPrefix(got, "HTTP/1.1 403 ") {
				t.Errorf("%s inside: %q", kind, got)
			}
			conn, err := net.Dial("tcp", d.addr)
			must(t, err)
			conn.SetDeadline(time.Now().Add(deadline))
			fmt.Fprint(conn, line+"GET http://plain.test/forged HTTP/1.1\r\nHost: plain.test\r\n\r\n")
			answer, _ := io.ReadAll(conn) // a reset is an answer, too
			conn.Close()
			if len(answer) > 0 && !strings.HasPrefix(string(answer), attach.Magic+"X ") {
				t.Errorf("%s at the port: %q", kind, answer)
			}
		}
		a.wantCurl(t, "http://plain.test/bytes/1", "200 x")
		a.leave()
		malformed := 0
		for _, e := range d.events() {
			if strings.Contains(e.Resource, "forged") {
				t.Errorf("a forged line opened %s", e.Resource)
			}
			if e.SessionID == "forger" && strings.Contains(string(e.Raw), "MalformedRequest") {
				malformed++
			}
		}
		if malformed != 5 {
			t.Errorf("%d malformed requests of sandbox %s are recorded, want 5", malformed, strings.TrimSpace(id))
		}
	})
}
