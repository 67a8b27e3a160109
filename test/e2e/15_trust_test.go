package e2e

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"firma/internal/testkit/gitserve"
)

// looks is a configuration that looks into TLS connections to name at addr: a rule
// that tells its paths apart is enough. Nothing the agent does says whom to
// trust, or how.
func (s *stage) looks(t *testing.T, name, addr, class, more string) string {
	t.Helper()
	return s.looksAt(t, map[string]string{name: addr}, apart(name, class), more)
}

// apart are rules of a host whose /admin may not be asked for.
func apart(host, class string) string {
	return rule(host, class) + fmt.Sprintf("\n[[rules]]\nhost = %q\npath = \"/admin/**\"\naction_class = \"repo.admin\"\n", host)
}

// looksAt is looks for several hosts.
func (s *stage) looksAt(t *testing.T, hosts map[string]string, rules, more string) string {
	t.Helper()
	return s.configure(t, settings{hosts: hosts, rules: rules,
		more: fmt.Sprintf("[sidecar.egress]\nca_cert_path = %q\n%s", filepath.Join(s.certs, "ca.pem"), more)})
}

// serveTLS starts an HTTPS server with the stage's certificate and returns its address.
func (s *stage) serveTLS(t *testing.T, h http.Handler) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(s.certs, "server.pem"), filepath.Join(s.certs, "server.key"))
	must(t, err)
	srv := httptest.NewUnstartedServer(h)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// trusting are clients that verify. Each asks for https://trust.test/NAME, prints
// the status, and gives up where it does not trust what it is shown.
var trusting = []struct{ name, script string }{
	{"curl", `curl -sS -o /dev/null -w '%{http_code}\n' https://trust.test/curl`},
	{"curl-http1", `curl -sS --http1.1 -o /dev/null -w '%{http_code}\n' https://trust.test/curl-http1`},
	{"wget", `wget -S -O /dev/null https://trust.test/wget 2>&1 | sed -n 's/^ *HTTP.* \(200\) .*/\1/p' | tail -1`},
	{"openssl", `printf 'GET /openssl HTTP/1.1\r\nHost: trust.test\r\nConnection: close\r\n\r\n' |
		openssl s_client -quiet -verify_return_error -verify_hostname trust.test -proxy 127.0.0.1:18080 -connect trust.test:443 -servername trust.test 2>/dev/null |
		sed -n 's/^HTTP.* \(200\) .*/\1/p'`},
	{"python-ssl", `/usr/bin/python3 get_tls.py ssl https://trust.test/python-ssl`},
	{"python-urllib", `/usr/bin/python3 get_tls.py urllib https://trust.test/python-urllib`},
	{"python-requests", `/usr/bin/python3 get_tls.py requests https://trust.test/python-requests`},
	{"python-httpx", `/usr/bin/python3 get_tls.py httpx https://trust.test/python-httpx`},
	{"perl-lwp", `perl -MLWP::UserAgent -e '$r = LWP::UserAgent->new(env_proxy => 1)->get("https://trust.test/perl-lwp"); print $r->code, "\n"'`},
	{"node", `node get_tls.js https://trust.test/node`},
	{"go", `./goget https://trust.test/go`},
}

// TestTrust: clients of each kind verify what firma shows them, without a word from
// the agent, and what they ask inside TLS is judged and recorded.
func TestTrust(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		goGet(t, s)
		p := play{flags: []string{"--quiet"}}
		p.config = s.looks(t, "trust.test", s.origin.TLSAddr().String(), "code.read", "")
		for _, c := range append(trusting, javas(t)...) {
			t.Run(c.name, func(t *testing.T) {
				p := p
				p.command = []string{"bash", "-c", c.script}
				r := s.run(t, p).wantCode(t, 0)
				if r.out != "200\n" {
					t.Errorf("the agent saw %s", r)
				}
				wantRecorded(t, r.events(t), 1, allow("trust.test/"+c.name))
			})
		}
	})
}

func goGet(t *testing.T, s *stage) {
	t.Helper()
	build := exec.Command("go", "build", "-o", filepath.Join(s.Project, "goget"), "./testdata/goget")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	must(t, s.Account.Own(filepath.Join(s.Project, "goget")))
}

// javas are the JDKs of this machine, which may have none.
func javas(t *testing.T) (all []struct{ name, script string }) {
	found, err := filepath.Glob("/usr/lib/jvm/*/bin/javac")
	must(t, err)
	seen := map[string]bool{}
	for _, javac := range found {
		real, err := filepath.EvalSymlinks(javac)
		must(t, err)
		if seen[real] {
			continue
		}
		seen[real] = true
		name := "java-" + filepath.Base(filepath.Dir(filepath.Dir(real)))
		all = append(all, struct{ name, script string }{name, filepath.Join(filepath.Dir(real), "java") + " Get.java https://trust.test/" + name})
	}
	if len(all) == 0 {
		t.Log("no JDK on this machine")
	}
	return all
}

// TestTrustPackages: package managers install over TLS that is looked into.
func TestTrustPackages(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		secure := strings.NewReplacer("http://", "https://", "--trusted-host pypi.test", "")
		for _, c := range []struct {
			name, host string
			h          http.Handler
			script     string
			says, file string
		}{
			{"pip", "pypi.test", index(t), secure.Replace(pipInstall), "hello from a wheel\n", "pypi.test/files/" + wheelName},
			{"npm", "npm.test", npm(t, "https"), secure.Replace(npmInstall), "hello from a tarball\n", "npm.test/tiny/-/tiny-1.0.0.tgz"},
		} {
			t.Run(c.name, func(t *testing.T) {
				p := sh(c.script)
				p.config = s.looks(t, c.host, s.serveTLS(t, c.h), "system.install", "")
				r := s.run(t, p).wantCode(t, 0)
				if r.out != c.says {
					t.Errorf("the agent saw %s", r)
				}
				wantRecorded(t, r.events(t), 1, allow(c.file))
			})
		}
	})
}

// TestTrustGit: a clone over TLS is allowed and a push refused, since the Sidecar
// sees inside what is asked.
func TestTrustGit(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		root := s.repository(t)
		h, err := gitserve.Handler(root)
		must(t, err)
		p := run("bash", "-c", cloneFetchPush, "git", "https://git.test/demo.git")
		p.config = s.configure(t, settings{hosts: map[string]string{"git.test": s.newOrigin(t, h).TLSAddr().String()}, rules: readOnly,
			more: fmt.Sprintf("[sidecar.egress]\nca_cert_path = %q\n", filepath.Join(s.certs, "ca.pem"))})
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
