package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"firma/internal/testkit/origin"
)

// arrival is a request at the far side: method and path, and how often.
type arrival struct {
	what  string // "GET /x"
	times int
}

// client is one way to make calls, with what must be seen of it at all three
// places: by the agent, by the origin, in the log.
type client struct {
	name    string
	script  string
	stdout  string // whole
	arrived []arrival
	log     []want // each once
}

func allow(resource string) want { return pattern("request", "ALLOW", "", resource) }
func answered(resource string, status int) want {
	w := pattern("dispatch", "ALLOW", "", resource)
	w.DispatchStatus = status
	return w
}

const status = `curl -sS -o /dev/null -w '%{http_code}\n' `

var curlClients = []client{
	{"get", status + `http://plain.test/a`, "200\n",
		[]arrival{{"GET /a", 1}}, []want{allow("plain.test/a"), answered("plain.test/a", 200)}},
	{"post with a body", `curl -sS -d 'one=1' http://plain.test/b | grep -o '"body":"[^"]*"'`, "\"body\":\"one=1\"\n",
		[]arrival{{"POST /b", 1}}, []want{allow("plain.test/b"), answered("plain.test/b", 200)}},
	{"put", status + `-T ca.pem http://plain.test/c`, "200\n",
		[]arrival{{"PUT /c", 1}}, []want{allow("plain.test/c")}},
	{"10 MB down", `curl -sS http://plain.test/bytes/10000000 | sha256sum | cut -c1-64`, hashOfX(10_000_000) + "\n",
		[]arrival{{"GET /bytes/10000000", 1}}, []want{allow("plain.test/bytes"), answered("plain.test/bytes", 200)}},
	{"10 MB up", `head -c 10000000 /dev/zero | tr '\0' x | curl -sS -H 'Expect:' --data-binary @- http://plain.test/sink`, "10000000\n",
		[]arrival{{"POST /sink", 1}}, []want{allow("plain.test/sink"), answered("plain.test/sink", 200)}},
	{"10 MB up, chunked", `head -c 10000000 /dev/zero | tr '\0' x | curl -sS -H 'Transfer-Encoding: chunked' --data-binary @- http://plain.test/sink`, "10000000\n",
		[]arrival{{"POST /sink", 1}}, []want{answered("plain.test/sink", 200)}},
	{"10 MB up, after 100 Continue", `head -c 10000000 /dev/zero | curl -sS -H 'Expect: 100-continue' -T - http://plain.test/sink`, "10000000\n",
		[]arrival{{"PUT /sink", 1}}, []want{answered("plain.test/sink", 200)}},
	{"two on one connection", `curl -sS -o /dev/null -o /dev/null -w '%{http_code} %{num_connects}\n' http://plain.test/d http://plain.test/e`, "200 1\n200 0\n",
		[]arrival{{"GET /d", 1}, {"GET /e", 1}}, []want{allow("plain.test/d"), allow("plain.test/e")}},
	{"http/1.0", `curl -sS -0 http://plain.test/f | grep -o '"path":"[^"]*"'`, "\"path\":\"/f\"\n",
		[]arrival{{"GET /f", 1}}, []want{allow("plain.test/f"), answered("plain.test/f", 200)}},
	{"head", `curl -sSI http://plain.test/bytes/42 | tr -d '\r' | grep -iE '^HTTP|^content-length'`, "HTTP/1.1 200 OK\nContent-Length: 42\n",
		[]arrival{{"HEAD /bytes/42", 1}}, []want{allow("plain.test/bytes/42"), answered("plain.test/bytes/42", 200)}},
	{"the origin's own errors", status + `http://plain.test/status/418`, "418\n",
		[]arrival{{"GET /status/418", 1}}, []want{answered("plain.test/status/418", 418)}},
	{"tunnel", status + `--cacert ca.pem https://secure.test/g`, "200\n",
		[]arrival{{"GET /g", 1}}, []want{pattern("tunnel", "ALLOW", "", "secure.test"), answered("secure.test", 200)}},
	{"http/2 in a tunnel", `curl -sS -o /dev/null -w '%{http_version} %{http_code}\n' --http2 --cacert ca.pem https://secure.test/h`, "2 200\n",
		[]arrival{{"GET /h", 1}}, []want{pattern("tunnel", "ALLOW", "", "secure.test")}},
	{"10 MB through a tunnel, both ways", `curl -sS --cacert ca.pem https://secure.test/bytes/10000000 | sha256sum | cut -c1-64
head -c 10000000 /dev/zero | curl -sS --cacert ca.pem --data-binary @- https://secure.test/sink`, hashOfX(10_000_000) + "\n10000000\n",
		[]arrival{{"GET /bytes/10000000", 1}, {"POST /sink", 1}}, nil},
	{"redirect", `curl -sSL -o /dev/null -w '%{http_code} %{num_redirects}\n' 'http://plain.test/redirect?to=http://plain.test/i'`, "200 1\n",
		[]arrival{{"GET /i", 1}}, []want{allow("plain.test/redirect"), allow("plain.test/i")}},
}

func hashOfX(n int) string {
	sum := sha256.Sum256([]byte(strings.Repeat("x", n)))
	return hex.EncodeToString(sum[:])
}

var otherClients = []client{
	{"python urllib", `python3 -c 'import urllib.request as u; r = u.urlopen("http://plain.test/py"); print(r.status)'`, "200\n",
		[]arrival{{"GET /py", 1}}, []want{allow("plain.test/py"), answered("plain.test/py", 200)}},
	{"python urllib, TLS", `SSL_CERT_FILE=ca.pem python3 -c 'import urllib.request as u; r = u.urlopen("https://secure.test/py"); print(r.status)'`, "200\n",
		[]arrival{{"GET /py", 1}}, []want{pattern("tunnel", "ALLOW", "", "secure.test")}},
	{"node http", `node get.js http://plain.test/js`, "200 GET /js\n",
		[]arrival{{"GET /js", 1}}, []want{allow("plain.test/js"), answered("plain.test/js", 200)}},
}

// TestClients: what curl, python and node ask for arrives as they sent it, comes
// back whole, and is in the log.
func TestClients(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		for _, c := range curlClients {
			t.Run("curl "+c.name, func(t *testing.T) { s.client(t, c) })
		}
		for _, c := range otherClients {
			t.Run(c.name, func(t *testing.T) { s.client(t, c) })
		}
	})
}

func (s *stage) client(t *testing.T, c client) {
	s.origin.Reset()
	r := s.run(t, sh(c.script)).wantCode(t, 0)
	if r.out != c.stdout || r.err != "" {
		t.Errorf("the agent saw %q, want %q; stderr: %s", r.out, c.stdout, r.err)
	}
	wantArrived(t, s.origin, c.arrived)
	events := r.events(t)
	for _, w := range c.log {
		wantRecorded(t, events, 1, w)
	}
	s.wantSealed(t, r)
}

// wantArrived fails unless the origin got these requests among those it got.
func wantArrived(t *testing.T, o *origin.Origin, want []arrival) {
	t.Helper()
	var got []string
	for _, r := range o.Requests("") {
		got = append(got, r.Method+" "+r.Path)
	}
	for _, a := range want {
		n := 0
		for _, g := range got {
			if g == a.what {
				n++
			}
		}
		if n != a.times {
			t.Errorf("%q arrived %d times, want %d; arrived: %q", a.what, n, a.times, got)
		}
	}
}

// TestWhatArrivesIsWhatWasSent: the body's bytes, and no header of firma's or of
// the agent's pretending.
func TestWhatArrivesIsWhatWasSent(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		s.run(t, sh(`head -c 3000000 /usr/bin/python3 | curl -sS -H 'X-Firma-Capability: forged' -H 'X-Mine: kept' \
			-H 'Proxy-Authorization: Basic eA==' -H 'Proxy-Connection: keep-alive' --data-binary @- http://plain.test/sink`)).wantCode(t, 0)
		sent := fileHash(t, "/usr/bin/python3", 3_000_000)
		i := slices.IndexFunc(s.origin.Records(), func(r origin.Record) bool { return r.Kind == "body" })
		if i < 0 || s.origin.Records()[i].BodyHash != sent {
			t.Errorf("another body arrived")
		}
		h := s.origin.Requests("plain.test")[0].Header
		if got := h["X-Mine"]; !slices.Equal(got, []string{"kept"}) {
			t.Errorf("X-Mine: %q", got)
		}
		for name := range h {
			if strings.HasPrefix(strings.ToLower(name), "x-firma") || strings.HasPrefix(name, "Proxy-") {
				t.Errorf("%s: %q arrived", name, h[name])
			}
		}
	})
}

func fileHash(t *testing.T, path string, n int) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	sum := sha256.Sum256(data[:n])
	return hex.EncodeToString(sum[:])
}

// TestEventsArriveOneByOne: the origin sends the next server-sent event only when
// the agent has confirmed the one before.
func TestEventsArriveOneByOne(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		e := newEvents(t)
		config := s.configure(t, settings{hosts: map[string]string{"events.test": e.addr}, rules: rule("events.test", "code.write")})
		p := sh(`python3 events.py http://events.test/stream http://events.test/confirm`)
		p.config = config
		r := s.run(t, p).wantCode(t, 0)
		if want := "200 text/event-stream\ndata: 0\ndata: 1\ndata: 2\n"; r.out != want {
			t.Errorf("the agent saw %q, want %q", r.out, want)
		}
	})
}

// TestFetch: where node's fetch knows the proxy variables, it needs nothing else.
func TestFetch(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		r := s.run(t, sh(`node fetch.js http://plain.test/fetched 2>/dev/null`)).wantCode(t, 0)
		if strings.HasPrefix(r.out, "fetch ignores proxies") {
			t.Skip(strings.TrimSpace(r.out))
		}
		if r.out != "200 GET\n" {
			t.Errorf("the agent saw %q", r.out)
		}
		wantArrived(t, s.origin, []arrival{{"GET /fetched", 1}})
	})
}

// TestRawSocketsDeadEnd: a raw connection to an address that no rule names reaches
// nothing, not even an origin that a rule allows by its name.
func TestRawSocketsDeadEnd(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		plain := s.origin.PlainAddr()
		dial := fmt.Sprintf(`exec 3<>/dev/tcp/%s/%d`, plain.Addr(), plain.Port())
		must(t, os.WriteFile(filepath.Join(s.Base, "dial.sh"), []byte(dial), 0o644))
		s.Run(t, cmdOf("/bin/bash", filepath.Join(s.Base, "dial.sh"))) // the control
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if _, err := s.origin.Wait(ctx, func(origin.Record) bool { return true }); err != nil {
			t.Fatalf("INVALID: outside, the same connection did not arrive: %v", err)
		}
		s.origin.Reset()
		r := s.run(t, sh(`(`+dial+`) 2>/dev/null && echo reached
			(exec 3<>/dev/tcp/192.0.2.1/443) 2>/dev/null && echo reached; echo over`)).wantCode(t, 0)
		if r.out != "over\n" || len(s.origin.Records()) != 0 {
			t.Errorf("the agent saw %q; arrived: %v", r.out, s.origin.Records())
		}
	})
}
