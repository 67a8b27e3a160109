package standalone

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestCapturedThroughIt: a client that ignores the proxy, inside a run that has
// attached, gets what the Sidecar decides, under the run's own session.
func TestCapturedThroughIt(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		c := s.plane("")
		_, url := c.serve()
		for _, network := range []string{"tcp", "unix"} {
			t.Run(network, func(t *testing.T) {
				s := &stage{s.World, t, s.origin, s.serial}
				s.origin.Reset()
				listen := anyPort
				if network == "unix" {
					listen = "mode = \"unix_socket\"\nsocket_path = \"" + filepath.Join(s.fresh("sock"), "s.sock") + "\""
				}
				d := s.alone(c.led(listen, url))
				a, other := s.agent(d, nil), s.agent(d, nil)
				session := strings.TrimSpace(strings.TrimPrefix(a.out.String(), "session "))
				const past = "--noproxy '*'"
				a.wantCurl(t, "http://plain.test/bytes/3", "200 xxx", past)
				if got := a.wantCurl(t, "http://evil.test/", "403 ", past); !strings.Contains(got, `"reason":"PolicyDenied"`) {
					t.Error(got)
				}
				a.wantCurl(t, "http://plain.test:4444/", "403 ", past)
				a.wantCurl(t, "http://plain.test/bytes/6", "200 xxxxxx", past, "-6")
				a.wantCurl(t, "http://evil.test/six", "403 ", past, "-6")
				a.wantCurl(t, "http://[2001:db8::9]/", "000 ", past) // no rule names it: no route
				a.wantCurl(t, "http://203.0.113.9/", "000 ", past)   // no rule names it: no route
				other.wantCurl(t, "http://plain.test/bytes/2", "200 xx", past)
				if code := a.leave(); code != 0 || !strings.Contains(a.err.String(), "evil.test") {
					t.Errorf("status %d\n%s", code, a)
				}
				other.leave()
				d.signal(syscall.SIGTERM)
				d.wantEnd(0)
				d.wantSealed()
				got := map[string]int{}
				for _, e := range d.events() {
					if e.SessionID == session && (e.Outcome == "DENY" || e.Kind == "request") {
						got[e.Outcome+" "+e.Resource]++
					}
				}
				for resource, n := range map[string]int{"ALLOW plain.test/bytes/3": 1, "DENY evil.test/": 1, "DENY plain.test:4444/": 1, "ALLOW plain.test/bytes/2": 0,
					"ALLOW plain.test/bytes/6": 1, "DENY evil.test/six": 1} {
					if got[resource] != n {
						t.Errorf("%d records of %s in session %s, want %d: %v", got[resource], resource, session, n, got)
					}
				}
				if n := len(s.origin.Requests("evil.test")); n != 0 || len(s.origin.Requests("plain.test")) != 3 {
					t.Errorf("what arrived: %v", s.origin.Requests(""))
				}
			})
		}
	})
}
