package e2e

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"firma/internal/testkit/freeport"
	"firma/internal/testkit/transcript"
)

// ignorant makes what follows in a script know nothing of the proxy.
const ignorant = `unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NODE_USE_ENV_PROXY JAVA_TOOL_OPTIONS JDK_JAVA_OPTIONS
`

// oblivious are clients that connect to what a name resolves to. Each asks
// plain.test, which a rule allows, for its own path.
var oblivious = []struct{ path, script string }{
	{"/curl", `curl -sS --noproxy '*' -o /dev/null -w '%{http_code}\n' http://plain.test/curl`},
	{"/curl4", `curl -4 -sS --noproxy '*' -o /dev/null -w '%{http_code}\n' http://plain.test/curl4`},
	{"/curl6", `curl -6 -sS --noproxy '*' -o /dev/null -w '%{http_code}\n' http://plain.test/curl6`},
	{"/tls", `curl -sS --noproxy '*' --cacert ca.pem -o /dev/null -w '%{http_code}\n' https://secure.test/tls`},
	{"/socket", `python3 -c 'import socket
s = socket.create_connection(("plain.test", 80))
s.sendall(b"GET /socket HTTP/1.1\r\nHost: plain.test\r\nConnection: close\r\n\r\n")
print(s.recv(100).split()[1].decode())'`},
	{"/fetch", `node -e 'fetch("http://plain.test/fetch").then(r => console.log(r.status))'`},
	{"/go", `./dialer http://plain.test/go`},
	{"/java", `java -Xshare:auto -XX:TieredStopAtLevel=1 Get.java http://plain.test/java`},
}

// TestClientsThatIgnoreTheProxy: what they ask for arrives, and is in the log, as
// if they had asked the proxy.
func TestClientsThatIgnoreTheProxy(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		s.buildDialer(t)
		s.write(t, "Get.java", javaClient, 0o644)
		for _, c := range oblivious {
			t.Run(c.path[1:], func(t *testing.T) {
				s.origin.Reset()
				r := s.run(t, sh(ignorant+c.script)).wantCode(t, 0)
				if r.out != "200\n" {
					t.Errorf("the agent saw %q; %s", r.out, r.err)
				}
				wantArrived(t, s.origin, []arrival{{"GET " + c.path, 1}})
				host, kind := "plain.test"+c.path, "request"
				if c.path == "/tls" {
					host, kind = "secure.test", "tunnel"
				}
				wantRecorded(t, r.events(t), 1, pattern(kind, "ALLOW", "", host))
				s.wantSealed(t, r)
			})
		}
	})
}

// TestIgnoringTheProxyIsNoWayAround: what is refused by the proxy is refused here,
// recorded, and does not reach the origin.
func TestIgnoringTheProxyIsNoWayAround(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		r := s.run(t, sh(ignorant+`
curl -sS --noproxy '*' -o /dev/null -w '%{http_code}\n' http://evil.test/x
curl -sS --noproxy '*' -o /dev/null -w '%{http_code}\n' -X DELETE http://plain.test/x
curl -sS --noproxy '*' -o /dev/null -w '%{http_code}\n' -H 'Host: evil.test' http://plain.test/x
curl -sS --noproxy '*' --cacert ca.pem -H 'Host: evil.test' --connect-to evil.test:443:secure.test:443 https://evil.test/x 2>/dev/null || echo closed
exec 3<>/dev/tcp/plain.test/2222 && echo hello >&3 && read -r line <&3 || echo closed
(exec 3<>/dev/tcp/unmapped.test/80) 2>/dev/null || echo unknown`)).wantCode(t, 0)
		if expected := "403\n403\n403\nclosed\nclosed\nunknown\n"; r.out != expected {
			t.Errorf("the agent saw %q, want %q; %s", r.out, expected, r.err)
		}
		if got := s.origin.Requests(""); len(got) != 0 {
			t.Errorf("arrived: %v", got)
		}
		events := r.events(t)
		for _, w := range []want{
			pattern("", "DENY", "PolicyDenied", "evil.test/x"),
			pattern("", "DENY", "UnclassifiedIntent", "plain.test/x"),
			pattern("", "DENY", "UnclassifiedIntent", "plain.test:2222"),
		} {
			if len(find(events, w)) == 0 {
				t.Errorf("not recorded: %+v; the log has%s", w.Event, told(events))
			}
		}
	})
}

// TestProtocolsThatAreNotHTTP are decided by name and port.
func TestProtocolsThatAreNotHTTP(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		redis := s.redis(t)
		ssh, key := s.sshd(t)
		config := s.configure(t, settings{hosts: map[string]string{"redis.test": redis, "ssh.test": ssh},
			rules: tunnelRule("redis.test:6379") + tunnelRule("ssh.test:22")})
		p := sh(`redis-cli -h redis.test set canary here; redis-cli -h redis.test get canary
ssh-keyscan -T 5 -t ed25519 ssh.test 2>/dev/null | cut -d' ' -f2,3
redis-cli -h redis.test -p 6380 set canary gone 2>&1 | grep -o 'Connection reset by peer\|closed the connection' | head -n 1
ssh-keyscan -T 5 -p 2222 ssh.test 2>/dev/null; redis-cli -h redis.test get canary`)
		p.config = config
		r := s.run(t, p).wantCode(t, 0)
		lines := strings.Split(strings.TrimSpace(r.out), "\n")
		if len(lines) != 5 || lines[0] != "OK" || lines[1] != "here" || lines[2] != key || lines[4] != "here" {
			t.Errorf("the agent saw %q, want the key %q; %s", lines, key, r.err)
		}
		events := r.events(t)
		for _, w := range []want{
			pattern("tunnel", "ALLOW", "", "redis.test:6379"), pattern("tunnel", "ALLOW", "", "ssh.test:22"),
			pattern("tunnel", "DENY", "UnclassifiedIntent", "redis.test:6380"), pattern("tunnel", "DENY", "UnclassifiedIntent", "ssh.test:2222"),
		} {
			if len(find(events, w)) == 0 {
				t.Errorf("not recorded: %+v; the log has%s", w.Event, told(events))
			}
		}
	})
}

// TestTransparentOff: with transparent = false names resolve and connections go
// nowhere; the proxy serves.
func TestTransparentOff(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		p := sh(`(exec 3<>/dev/tcp/plain.test/80) 2>/dev/null || echo dead end
python3 -c 'import socket; print(*{a[4][0] for a in socket.getaddrinfo("plain.test", 80)})'
curl -sS -o /dev/null -w '%{http_code}\n' http://plain.test/p`)
		p.config = s.configure(t, settings{more: "[run.defaults]\ntransparent = false\n"})
		r := s.run(t, p).wantCode(t, 0)
		if r.out != "dead end\n198.18.0.1\n200\n" {
			t.Errorf("the agent saw %q", r.out)
		}
		start := find(r.events(t), pattern("run.start", "", "", ""))
		if len(start) != 1 || !strings.Contains(string(start[0].Raw), `"transparent":"off`) {
			t.Errorf("run.start does not say that it is off")
		}
	})
}

func tunnelRule(hostport string) string {
	return "\n[[rules]]\nmethod = \"CONNECT\"\nhost = " + strconv.Quote(hostport) + "\naction_class = \"communication.external.send\"\n"
}

const javaClient = `import java.net.URI; import java.net.http.*;
class Get { public static void main(String[] a) throws Exception {
	var c = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
	System.out.println(c.send(HttpRequest.newBuilder(URI.create(a[0])).build(), HttpResponse.BodyHandlers.ofString()).statusCode()); } }
`

const goClient = `package main

import ("fmt"; "net/http"; "os")

func main() {
	c := http.Client{Transport: &http.Transport{Proxy: nil}}
	r, err := c.Get(os.Args[1])
	if err != nil { fmt.Println(err); os.Exit(1) }
	fmt.Println(r.StatusCode)
}
`

// buildDialer makes a static program with a resolver and a dialer of its own.
func (s *stage) buildDialer(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(goClient), 0o644))
	build := exec.Command("go", "build", "-tags", "netgo", "-ldflags", "-s -w", "-o", filepath.Join(s.Project, "dialer"), filepath.Join(dir, "main.go"))
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	must(t, s.Account.Own(filepath.Join(s.Project, "dialer")))
}

// daemon starts a server on loopback and returns its address once it says ready. One
// that says nothing (ready is "") is tried until it accepts: it gives no event.
func (s *stage) daemon(t *testing.T, ready string, args func(dir, port string) []string) string {
	t.Helper()
	at, err := freeport.Address()
	must(t, err)
	_, port, _ := net.SplitHostPort(at)
	words := args(t.TempDir(), port)
	cmd := exec.Command(words[0], words[1:]...)
	out := transcript.New()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (scripts/deps.sh test)", err)
	}
	over := make(chan struct{})
	go func() { _ = cmd.Wait(); out.Close(); close(over) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-over })
	if ready != "" {
		if out.Wait(0, ready) < 0 {
			t.Fatalf("%q does not say %q\n%s", words, ready, out)
		}
		return at
	}
	for until := time.Now().Add(deadline); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", at)
		if err == nil {
			c.Close()
			return at
		}
		if time.Now().After(until) {
			t.Fatalf("%q does not accept: %v\n%s", words, err, out)
		}
	}
}

func (s *stage) redis(t *testing.T) string {
	return s.daemon(t, "Ready to accept connections", func(dir, port string) []string {
		return []string{"redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", dir}
	})
}

// sshd returns also the type and the text of its host key.
func (s *stage) sshd(t *testing.T, more ...string) (at, key string) {
	at = s.daemon(t, "Server listening on", func(dir, port string) []string {
		host := filepath.Join(dir, "host")
		keygen(t, host)
		pub, err := os.ReadFile(host + ".pub")
		key = strings.Join(strings.Fields(string(pub))[:2], " ")
		if os.Getuid() == 0 {
			err = errors.Join(err, os.MkdirAll("/run/sshd", 0o755)) // sshd's own directory, empty
		}
		must(t, err)
		return append([]string{"/usr/sbin/sshd", "-D", "-e", "-f", os.DevNull, "-h", host, "-p", port, "-o", "ListenAddress=127.0.0.1", "-o", "PidFile=none"}, more...)
	})
	return at, key
}
