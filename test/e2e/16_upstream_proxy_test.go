package e2e

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// proxyUser is whom the real proxies of these stories let through.
const proxyUser = "corporate"

// beyond are names that only the network's proxy can resolve: tunnel.test is not
// looked into.
const beyond = "only.test tunnel.test closed.test"

// corporate is a network's own proxy: the real program, which asks for a password.
type corporate struct {
	name, at string
	seen     func() string // what it wrote into its log of requests
}

// proxies are the real ones. open is the port that they connect to.
var proxies = []struct {
	name  string
	start func(s *stage, t *testing.T, password, open string) corporate
}{{"squid", (*stage).squid}, {"tinyproxy", (*stage).tinyproxy}}

// aside makes a directory that a daemon of another account can read.
func (s *stage) aside(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := s.fresh(t, "proxy")
	must(t, os.Chmod(dir, 0o755))
	for name, text := range files {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	return dir
}

func (s *stage) squid(t *testing.T, password, open string) corporate {
	t.Helper()
	hash, err := exec.Command("openssl", "passwd", "-apr1", password).Output()
	if err != nil {
		t.Fatalf("%v (scripts/deps.sh test)", err)
	}
	dir := s.aside(t, map[string]string{"hosts": "127.0.0.1 " + beyond + "\n", "users": proxyUser + ":" + string(hash), "requests": ""})
	must(t, os.Chmod(filepath.Join(dir, "requests"), 0o666))
	at := s.daemon(t, "", func(_, port string) []string {
		conf := filepath.Join(dir, "squid.conf")
		must(t, os.WriteFile(conf, []byte("http_port 127.0.0.1:"+port+"\nhosts_file "+dir+"/hosts\nauth_param basic program /usr/lib/squid/basic_ncsa_auth "+dir+`/users
auth_param basic children 1
acl known proxy_auth REQUIRED
acl open port `+open+`
http_access deny !open
http_access allow known
http_access deny all
logformat asked %rm %ru %>Hs [%>h]
access_log stdio:`+dir+`/requests logformat=asked
cache deny all
cache_log /dev/null
cache_store_log none
pid_filename none
pinger_enable off
netdb_filename none
visible_hostname squid
shutdown_lifetime 0 seconds
coredump_dir none
`), 0o644))
		return []string{"/usr/sbin/squid", "-N", "-f", conf}
	})
	return corporate{"squid", at, func() string { return read(t, filepath.Join(dir, "requests")) }}
}

// tinyproxy asks the system for addresses, so it gets a hosts file of its own.
func (s *stage) tinyproxy(t *testing.T, password, open string) corporate {
	t.Helper()
	dir := s.aside(t, map[string]string{"hosts": "127.0.0.1 localhost " + beyond + "\n", "requests": ""})
	at := s.daemon(t, "", func(_, port string) []string {
		conf := filepath.Join(dir, "tinyproxy.conf")
		must(t, os.WriteFile(conf, []byte("Port "+port+"\nListen 127.0.0.1\nTimeout 60\nMaxClients 100\nLogLevel Info\nLogFile \""+dir+"/requests\"\nBasicAuth "+proxyUser+" "+password+
			"\nConnectPort "+strings.ReplaceAll(open, " ", "\nConnectPort ")+"\nDisableViaHeader Yes\n"), 0o644))
		return []string{"unshare", "-rm", "sh", "-c", "mount --bind " + dir + "/hosts /etc/hosts && exec /usr/bin/tinyproxy -d -c " + conf}
	})
	return corporate{"tinyproxy", at, func() string { return read(t, filepath.Join(dir, "requests")) }}
}

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

// behind is a configuration whose connections leave through the proxy at at. An
// empty user means no authentication.
func (s *stage) behind(t *testing.T, at, user, password, more string) string {
	t.Helper()
	plain, tls := portOf(s.origin.PlainAddr()), portOf(s.origin.TLSAddr())
	text := fmt.Sprintf("[sidecar.egress.upstream_proxy]\nurl = \"http://%s\"\n", at)
	if user != "" {
		file := filepath.Join(s.fresh(t, "secret"), "password")
		must(t, errors.Join(os.WriteFile(file, []byte(password+"\n"), 0o600), s.Account.Own(file)))
		text += fmt.Sprintf("username = %q\npassword_path = %q\n", user, file)
	}
	rules := ""
	for _, p := range []string{plain, tls} {
		rules += rule("only.test:"+p, "code.read") + rule("direct.test:"+p, "code.read") + tunnelRule("tunnel.test:"+p)
	}
	return s.configure(t, settings{rules: rules + rule("closed.test:9", "code.read"), more: text + more + fmt.Sprintf(
		"\n[sidecar.interceptor.https_mitm]\nintercept_hosts = [\"only.test\"]\n[sidecar.egress]\nca_cert_path = %q\nallowed_cidrs = [\"127.0.0.0/8\"]\n", filepath.Join(s.certs, "ca.pem"))})
}

func portOf(a netip.AddrPort) string { return port(a.String()) }

// spellings are how a password may show: as it is, and in Base64, alone or behind
// the user's name.
func spellings(password string) []string {
	pair := base64.StdEncoding.EncodeToString([]byte(proxyUser + ":" + password))
	return []string{password, pair[:len(pair)-4], base64.StdEncoding.EncodeToString([]byte(password))[:len(password)]}
}

func wantAbsent(t testing.TB, where, text, password string) {
	t.Helper()
	for _, s := range spellings(password) {
		if strings.Contains(text, s) {
			t.Errorf("%s: the proxy's password is there as %q", where, s)
		}
	}
}

// everyWay asks through each way in, each time with credentials of the agent's
// own for the proxy, and then looks for the Sidecar's.
const everyWay = `mine="Proxy-Authorization: Basic QUdFTlQ6QUdFTlQ="
curl -sS -i -H "$mine" --proxy-header "$mine" http://only.test:$1/plain
curl -sS -i -H "$mine" --proxy-header "$mine" https://only.test:$2/inside
curl -sS -i -H "$mine" --proxy-header "$mine" --cacert ca.pem https://tunnel.test:$2/tunnel
curl -sS -i -H "$mine" --noproxy '*' https://only.test:$2/captured
curl -sS -i -x socks5h://127.0.0.1:18080 https://only.test:$2/socks
curl -sS -i -H "$mine" --proxy-header "$mine" http://closed.test:9/closed
curl -sS -i -H "$mine" --proxy-header "$mine" -p http://closed.test:9/closed
env; cat /proc/*/environ /proc/*/cmdline /proc/self/mountinfo 2>/dev/null; ls -lR /proc/*/fd /run 2>/dev/null
true`

// TestUpstreamProxies: real proxies carry what firma allows, by its password,
// which shows nowhere, and never by the agent's.
func TestUpstreamProxies(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		for _, p := range proxies {
			t.Run(p.name, func(t *testing.T) {
				s.origin.Reset()
				password := rand.Text()
				via := s.open(t, p.start, password)
				play := sh(everyWay)
				play.command = append(play.command, "sh", portOf(s.origin.PlainAddr()), portOf(s.origin.TLSAddr()))
				play.config = s.behind(t, via.at, proxyUser, password, "")
				lines := filepath.Join(s.fresh(t, "log"), "firma.log")
				play.flags = append(play.flags, "--log-filter", "trace", "--log-file", lines)
				r := s.run(t, play).wantCode(t, 0)
				wantArrived(t, s.origin, []arrival{{"GET /plain", 1}, {"GET /inside", 1}, {"GET /tunnel", 1}, {"GET /captured", 1}, {"GET /socks", 1}})
				if n := strings.Count(r.out, "HTTP/2 200"); n != 4 || !strings.Contains(r.out, "CONNECTOR_FAILURE") || !strings.Contains(r.out, "status 403") {
					t.Errorf("the agent saw %s", r)
				}
				events := r.events(t)
				for _, what := range []string{"/plain", "/inside", "/captured", "/socks"} {
					wantRecorded(t, events, 1, allow(what))
				}
				wantRecorded(t, events, 1, pattern("tunnel", "ALLOW", "", "tunnel.test"))
				s.wantSealed(t, r)

				for _, q := range s.origin.Records() {
					if h := q.Header["Proxy-Authorization"]; q.Path != "/tunnel" && len(h) > 0 { // a tunnel's inside is the agent's own
						t.Errorf("%s arrived with %q", q.Path, h)
					}
				}
				seen := via.seen()
				if !strings.Contains(seen, "only.test:"+portOf(s.origin.TLSAddr())) || strings.Contains(seen, "GET ") || strings.Contains(seen, "QUdFTlQ6QUdFTlQ=") {
					t.Errorf("the proxy was asked for\n%s", seen)
				}
				wantAbsent(t, "what the agent saw", r.out, password)
				wantAbsent(t, "standard error", r.err, password)
				wantAbsent(t, "the log", read(t, lines), password)
				wantAbsentBelow(t, r.state, password)
				effective := s.firma(t, r.state, "run", "--authority", "local", "--config", play.config, "--print-effective-config", "--", "true")
				if effective.Code != 0 || !strings.Contains(effective.Stdout, via.at) {
					t.Errorf("the effective configuration does not show the proxy: %+v", effective)
				}
				wantAbsent(t, "the effective configuration", effective.Stdout+effective.Stderr, password)
			})
		}
	})
}

// open starts a proxy that lets connections to the origin's ports through.
func (s *stage) open(t *testing.T, start func(*stage, *testing.T, string, string) corporate, password string) corporate {
	ports := portOf(s.origin.PlainAddr()) + " " + portOf(s.origin.TLSAddr())
	return start(s, t, password, ports)
}

func wantAbsentBelow(t testing.TB, dir, password string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			wantAbsent(t, path, read(t, path), password)
		}
		return err
	}))
}

// TestUpstreamProxyCredentials: without the right ones nothing arrives, and the
// agent reads why, inside what it asked by.
func TestUpstreamProxyCredentials(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		for _, p := range proxies {
			password := rand.Text()
			via := s.open(t, p.start, password)
			for name, c := range map[string]struct{ user, password string }{
				"wrong": {proxyUser, "not " + rand.Text()}, "another user": {"nobody", password}, "none": {},
			} {
				t.Run(p.name+"/"+name, func(t *testing.T) {
					s.origin.Reset()
					r := s.failsBehind(t, s.behind(t, via.at, c.user, c.password, ""))
					const inJSON = `[sidecar.egress.upstream_proxy]","action_class"` // the status line of a CONNECT has it, too
					if n := strings.Count(r.out, inJSON); n != 3 || !strings.Contains(r.out, "wants other credentials") {
						t.Errorf("the agent saw %d reasons: %s", n, r)
					}
					if c.password != "" {
						wantAbsent(t, "what the agent saw", r.out+r.err, c.password)
						wantAbsentBelow(t, r.state, c.password)
					}
				})
			}
		}
	})
}

// failsBehind asks by HTTP, by interception and by a tunnel, each with the agent's
// own credentials for the proxy; nothing may arrive.
func (s *stage) failsBehind(t *testing.T, config string) *result {
	t.Helper()
	p := sh(`mine="Proxy-Authorization: Basic $(printf %s "$3" | base64)"
curl -sS -i -m 20 -H "$mine" --proxy-header "$mine" http://only.test:$1/plain
curl -sS -i -m 20 -H "$mine" --proxy-header "$mine" https://only.test:$2/inside
curl -sS -i -m 20 -H "$mine" --proxy-header "$mine" -v https://tunnel.test:$2/tunnel 2>&1
python3 - $2 <<'EOF'
import socket, sys
s = socket.create_connection(("127.0.0.1", 18080))
s.sendall(b"CONNECT tunnel.test:%d HTTP/1.1\r\nHost: tunnel.test:%d\r\n\r\n" % (int(sys.argv[1]), int(sys.argv[1])))
print(s.recv(4096).decode())
EOF
true`)
	p.command = append(p.command, "sh", portOf(s.origin.PlainAddr()), portOf(s.origin.TLSAddr()), "agent:agent")
	p.config = config
	r := s.run(t, p).wantCode(t, 0)
	if got := s.origin.Requests(""); len(got) != 0 {
		t.Errorf("arrived: %v", got)
	}
	events := r.events(t)
	for _, what := range []string{"only.test:" + portOf(s.origin.PlainAddr()) + "/plain", "/inside"} {
		wantRecorded(t, events, 1, allow(what))
	}
	s.wantSealed(t, r)
	return r
}

// TestUpstreamProxyFails: a proxy that is down, and one that accepts and never
// answers.
func TestUpstreamProxyFails(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts
		must(t, err)
		defer silent.Close()
		gone, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		gone.Close()
		for _, c := range []struct{ name, at, code, says string }{
			{"down", gone.Addr().String(), "CONNECTOR_FAILURE", "can't be reached"},
			{"hangs", silent.Addr().String(), "CONNECTOR_TIMEOUT", "did not answer in time"},
		} {
			t.Run(c.name, func(t *testing.T) {
				s.origin.Reset()
				r := s.failsBehind(t, s.behind(t, c.at, "", "", "[sidecar.interceptor.connect_relay]\nsetup_timeout = \"1s\"\n"))
				if strings.Count(r.out, c.code) < 3 || strings.Count(r.out, c.says) < 3 {
					t.Errorf("the agent saw %s", r)
				}
			})
		}
	})
}

// TestUpstreamProxyExceptions: what no_proxy names is connected to directly, and
// nothing else is, whatever the host can resolve.
func TestUpstreamProxyExceptions(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a hosts file of one's own needs root")
	}
	everyone(t, func(t *testing.T, s *stage) {
		via := s.open(t, (*stage).tinyproxy, rand.Text())
		for name, c := range map[string]struct {
			except string
			direct bool
		}{
			"by name": {"direct.test", true}, "by suffix": {".test", true}, "by name and port": {"direct.test:" + portOf(s.origin.PlainAddr()), true},
			"by another port": {"direct.test:1", false}, "by a part of the name": {"irect.test", false}, "none": {"elsewhere.test", false},
		} {
			t.Run(name, func(t *testing.T) {
				s.origin.Reset()
				p := sh(`curl -sS -o /dev/null -w '%{http_code}\n' http://direct.test:$1/x`)
				p.command = append(p.command, "sh", portOf(s.origin.PlainAddr()))
				p.config = s.behind(t, via.at, "", "", fmt.Sprintf("no_proxy = [%q]\n", c.except))
				p.room = s.newRoom(t)
				s.knows(t, p.room, "127.0.0.1 direct.test\n")
				before := via.seen()
				// That somebody looked whether the proxy is there may come late into its log.
				asked := func() bool { return strings.Contains(via.seen()[len(before):], "direct.test") }
				r := s.run(t, p).wantCode(t, 0)
				want, n := "504\n", 0 // the proxy was not told any credentials
				if c.direct {
					want, n = "200\n", 1
				}
				if r.out != want || len(s.origin.Requests("")) != n || asked() == c.direct {
					t.Errorf("the agent saw %q, want %q; arrived: %v; the proxy saw %q", r.out, want, s.origin.Requests(""), via.seen()[len(before):])
				}
			})
		}
	})
}

// knows gives a room a hosts file of its own.
func (s *stage) knows(t *testing.T, r *room, hosts string) {
	t.Helper()
	file := filepath.Join(s.aside(t, map[string]string{"hosts": "127.0.0.1 localhost\n" + hosts}), "hosts")
	out, err := exec.Command("nsenter", "-m", "-t", fmt.Sprint(r.holder.Process.Pid), "mount", "--bind", file, "/etc/hosts").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestUpstreamProxyPasswordFile: a password that others can use, or that is none,
// is no launch.
func TestUpstreamProxyPasswordFile(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		dir := s.fresh(t, "secret")
		for name, c := range map[string]struct {
			text string
			mode os.FileMode
			make func(path string) error
			says string
		}{
			"others may read":  {"s3cret", 0o644, nil, "mode 0644"},
			"a group may read": {"s3cret", 0o640, nil, "mode 0640"},
			"empty":            {"", 0o600, nil, "does not hold one line"},
			"two lines":        {"s3cret\nanother", 0o600, nil, "does not hold one line"},
			"a directory":      {"", 0, func(path string) error { return errors.Join(os.Mkdir(path, 0o700), s.Account.Own(path)) }, "not a regular file"},
			"absent":           {"", 0, func(string) error { return nil }, "can't be read"},
			"somebody else's":  {"s3cret", 0o600, func(path string) error { return s.strange(t, path, "s3cret") }, map[bool]string{true: "can't be read", false: "belongs to another account"}[s.Account.Ordinary()]},
			"a pipe":           {"", 0, func(path string) error { return errors.Join(syscall.Mkfifo(path, 0o600), s.Account.Own(path)) }, "not a regular file"},
		} {
			t.Run(name, func(t *testing.T) {
				path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
				if c.make != nil {
					must(t, c.make(path))
				} else {
					must(t, errors.Join(os.WriteFile(path, []byte(c.text), c.mode), os.Chmod(path, c.mode), s.Account.Own(path)))
				}
				p := sh("echo launched")
				p.config = s.configure(t, settings{more: fmt.Sprintf("[sidecar.egress.upstream_proxy]\nurl = \"http://127.0.0.1:9\"\nusername = \"a\"\npassword_path = %q\n", path)})
				r := s.run(t, p).wantCode(t, 125)
				if !strings.Contains(r.err, "SecretFileInvalid") || !strings.Contains(r.err, c.says) || strings.Contains(r.String(), "launched") || strings.Contains(r.String(), "s3cret") {
					t.Errorf("%s", r)
				}
			})
		}
	})
}

// strange makes a file of another account than the stage's, and not root's.
func (s *stage) strange(t *testing.T, path, text string) error {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("a file of somebody else needs root")
	}
	return errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chown(path, 65534, 65534))
}
