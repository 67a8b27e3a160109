package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"firma/internal/testkit/gitserve"
)

// looking is a configuration whose origin is verified by the tests' authority:
// plain.test is told apart by its rules, so it is looked into; secure.test, of
// which only tunnels are mapped, is not.
func (s *stage) looking(t *testing.T, c settings) string {
	t.Helper()
	if c.hosts == nil {
		c.hosts = map[string]string{"plain.test": s.origin.TLSAddr().String()}
	}
	c.more += "\n[sidecar.egress]\nca_cert_path = \"" + filepath.Join(s.Project, "ca.pem") + "\"\n"
	return s.configure(t, c)
}

// TestInterception: requests inside TLS are judged by method and path, whichever
// HTTP is spoken and however the connection was asked for. The agent's clients
// trust what they see without being told.
func TestInterception(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		for name, how := range map[string]string{
			"http1.1": "--http1.1", "http2": "--http2", "socks": "--http1.1 -x socks5h://127.0.0.1:18080",
		} {
			t.Run(name, func(t *testing.T) {
				s.origin.Journal.Reset()
				p := sh(`curl -sS -o /dev/null -w '%{http_version} %{http_code}\n' ` + how + ` https://plain.test/a
curl -sS ` + how + ` -d x=1 https://plain.test/admin/b`)
				p.config = s.looking(t, settings{})
				r := s.run(t, p).wantCode(t, 0)
				version := map[bool]string{true: "2", false: "1.1"}[name == "http2"]
				if !strings.HasPrefix(r.out, version+" 200\n") || !strings.Contains(r.out, `"denied":true`) || !strings.Contains(r.out, `"PolicyDenied"`) {
					t.Errorf("the agent saw %s", r)
				}
				events := r.events(t)
				wantRecorded(t, events, 2, pattern("stream", "ALLOW", "", "plain.test"))
				wantRecorded(t, events, 1, allow("plain.test/a"))
				wantRecorded(t, events, 1, answered("plain.test/a", 200))
				wantRecorded(t, events, 1, pattern("request", "DENY", "PolicyDenied", "plain.test/admin/b"))
				seen := s.origin.Journal.Requests("plain.test")
				if len(seen) != 1 || seen[0].Path != "/a" || seen[0].Scheme != "https" {
					t.Errorf("at the far side: %v", seen)
				}
				s.wantSealed(t, r)
			})
		}
	})
}

// TestServerNames: a TLS connection names the host that it was asked for, looked
// into or not, or it goes nowhere.
func TestServerNames(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		for _, host := range []string{"plain.test", "secure.test"} {
			t.Run(host, func(t *testing.T) {
				s.origin.Journal.Reset()
				p := sh(`openssl s_client -proxy 127.0.0.1:18080 -connect ` + host + `:443 -servername evil.test </dev/null 2>&1 | grep -o 'alert access denied' | head -1`)
				p.config = s.looking(t, settings{})
				r := s.run(t, p).wantCode(t, 0)
				if r.out != "alert access denied\n" {
					t.Errorf("the agent saw %s", r)
				}
				wantRecorded(t, r.events(t), 1, pattern("egress", "DENY", "MalformedRequest", host))
				for _, x := range s.origin.Journal.Records() {
					if x.SNI != "" || x.Kind == "request" {
						t.Errorf("at the far side: %+v", x)
					}
				}
			})
		}
		t.Run("no TLS", func(t *testing.T) {
			p := sh(`curl -sS -p -x http://127.0.0.1:18080 http://secure.test:443/ 2>&1 >/dev/null | head -1; exit 0`)
			p.config = s.looking(t, settings{})
			wantRecorded(t, s.run(t, p).wantCode(t, 0).events(t), 1, pattern("egress", "DENY", "MalformedRequest", "secure.test"))
		})
	})
}

// TestInterceptedGit: a clone is allowed and a push refused, over TLS.
func TestInterceptedGit(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		root := s.repository(t)
		h, err := gitserve.Handler(root)
		must(t, err)
		p := run("bash", "-c", cloneFetchPush, "git", "https://git.test/demo.git")
		p.config = s.looking(t, settings{hosts: map[string]string{"git.test": s.newOrigin(t, h).TLSAddr().String()}, rules: readOnly})
		r := s.run(t, p).wantCode(t, 128)
		if r.out != "hello from the far side\n" || !strings.Contains(r.err, "403") {
			t.Errorf("the agent saw %s", r)
		}
		if got := history(t, root); got != "first\n" {
			t.Errorf("at the far side: %q", got)
		}
		wantRecorded(t, r.events(t), 1, pattern("request", "DENY", "PolicyDenied", "git.test/demo.git/info/refs"))
	})
}
