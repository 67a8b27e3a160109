package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firma/internal/intent"
	"firma/internal/verdict"
)

const (
	inGet  = "GET /x HTTP/1.1\r\nHost: api.example.com\r\n"
	inPost = "POST /x HTTP/1.1\r\nHost: api.example.com\r\n"
	admit  = "admit ALLOW api.example.com:443"
)

// TestIntercepted: requests inside TLS are judged one by one, over one upstream
// connection, in the form they are sent in.
func TestIntercepted(t *testing.T) {
	heads := make(chan string, 10)
	w := newIntercepting(t, interceptOptions{}, answers(ok, heads))
	w.e.decide = denyPath("/deny")
	c := w.dial(t, nil)
	c.send("GET /a/../x?b=%63 HTTP/1.1\r\nHost: API.example.com:443\r\nX-Firma-Session-Id: 1\r\n\r\n" +
		"GET /deny HTTP/1.1\r\nHost: api.example.com\r\n\r\n" + // pipelined
		"GET https://api.example.com/absolute HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
	c.expect(ok)
	if status, body := c.response(); status != "HTTP/1.1 403 Forbidden" || !strings.Contains(body, `"PolicyDenied"`) {
		t.Errorf("%s %s", status, body)
	}
	c.expect(ok)
	want := []string{"GET /x?b=c HTTP/1.1\r\nHost: api.example.com\r\n\r\n", "GET /absolute HTTP/1.1\r\nHost: api.example.com\r\n\r\n"}
	if diff := cmp.Diff(want, []string{receive(t, heads), receive(t, heads)}); diff != "" {
		t.Error(diff)
	}
	if w.conns() != 1 {
		t.Errorf("%d upstream connections", w.conns())
	}
	if diff := cmp.Diff([]string{admit, "ALLOW GET api.example.com/x?b=c", "DENY GET api.example.com/deny", "ALLOW GET api.example.com/absolute"}, w.e.take()); diff != "" {
		t.Error(diff)
	}
}

// TestOtherPorts: the port of the stream is that of every request in it.
func TestOtherPorts(t *testing.T) {
	heads := make(chan string, 10)
	w := newIntercepting(t, interceptOptions{}, answers(ok, heads))
	c := w.secure(t, w.stream(t, "api.example.com:8443"), nil)
	c.send("GET /x HTTP/1.1\r\nHost: api.example.com:8443\r\n\r\n")
	c.expect(ok)
	if head := receive(t, heads); !strings.Contains(head, "\r\nHost: api.example.com:8443\r\n") {
		t.Error(head)
	}
	if diff := cmp.Diff([]string{"admit ALLOW api.example.com:8443", "ALLOW GET api.example.com:8443/x"}, w.e.take()); diff != "" {
		t.Error(diff)
	}
	c.send("GET /x HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
	if status, body := c.response(); !strings.Contains(body, "MalformedRequest") {
		t.Errorf("%s %s", status, body)
	}
}

// malformedInside is what no request inside a stream may be. Nothing of it, and
// nothing after it, is sent.
var malformedInside = map[string]string{
	"another Host":            "GET /x HTTP/1.1\r\nHost: evil.test\r\n\r\n",
	"another port":            "GET /x HTTP/1.1\r\nHost: api.example.com:8443\r\n\r\n",
	"port 80":                 "GET /x HTTP/1.1\r\nHost: api.example.com:80\r\n\r\n",
	"no Host":                 "GET /x HTTP/1.1\r\n\r\n",
	"an empty Host":           "GET /x HTTP/1.1\r\nHost:\r\n\r\n",
	"two Hosts":               "GET /x HTTP/1.1\r\nHost: api.example.com\r\nHost: evil.test\r\n\r\n",
	"userinfo in Host":        "GET /x HTTP/1.1\r\nHost: api.example.com@evil.test\r\n\r\n",
	"another absolute":        "GET https://evil.test/x HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	"another absolute, both":  "GET https://evil.test/x HTTP/1.1\r\nHost: evil.test\r\n\r\n",
	"userinfo in absolute":    "GET https://api.example.com@evil.test/x HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	"another scheme":          "GET http://api.example.com/x HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	"an asterisk":             "OPTIONS * HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	"CONNECT":                 "CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n",
	"CONNECT to itself":       "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	"CONNECT with a path":     "CONNECT /x HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	"no slash":                "GET x HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	"CL and TE":               inPost + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"two CL":                  inPost + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
	"TE identity":             inPost + "Transfer-Encoding: identity\r\n\r\n",
	"TE twice":                inPost + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
	"TE with a vertical tab":  inPost + "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n",
	"TE with a space":         inPost + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
	"TE with an underscore":   inPost + "Transfer_Encoding: chunked\r\n\r\n0\r\n\r\n",
	"CL with a sign":          inPost + "Content-Length: +3\r\n\r\nabc",
	"bare LF":                 "GET /x HTTP/1.1\nHost: api.example.com\n\n",
	"obs-fold":                inGet + "X: a\r\n b\r\n\r\n",
	"NUL":                     inGet + "X: a\x00b\r\n\r\n",
	"encoded backslash":       "GET /a%5cb HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	"above the root":          "GET /../x HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	"a fragment":              "GET /x#y HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	"h2 prior knowledge":      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"SOCKS":                   "\x05\x01\x00",
	"TLS inside TLS":          "\x16\x03\x01\x00\x01\x01",
	"a chunk that is none":    inPost + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
	"HTTP/0.9":                "GET /x\r\n",
	"an encoded NUL":          "GET /a%00b HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	"a host with a dot twice": "GET /x HTTP/1.1\r\nHost: api.example.com..\r\n\r\n",
}

func TestMalformedInside(t *testing.T) {
	heads := make(chan string, 1000)
	w := newIntercepting(t, interceptOptions{}, answers(ok, heads))
	for name, wire := range malformedInside {
		t.Run(name, func(t *testing.T) {
			c := w.dial(t, nil)
			w.e.take()
			c.send(wire + inGet + "\r\n")
			status, body := c.response()
			log := w.e.take()
			if name == "a chunk that is none" { // only its body is wrong: judged, and not sent
				if !strings.Contains(body, "CONNECTOR_INVALID_REQUEST") || len(log) != 1 {
					t.Errorf("%s %s %q", status, body, log)
				}
			} else if status != "HTTP/1.1 403 Forbidden" || !strings.Contains(body, `"MalformedRequest"`) || len(log) != 1 || !strings.HasPrefix(log[0], "malformed https: ") {
				t.Errorf("%s %s %q", status, body, log)
			}
			if b, _ := io.ReadAll(c.r); len(b) > 0 {
				t.Errorf("more came: %q", b)
			}
		})
	}
	if len(heads) > 0 {
		t.Errorf("sent upstream: %q", <-heads)
	}
}

// TestUpgradesInside: h2c is dropped, and the request is what it is without it.
func TestUpgradesInside(t *testing.T) {
	heads := make(chan string, 1)
	w := newIntercepting(t, interceptOptions{}, answers(ok, heads))
	c := w.dial(t, nil)
	c.send(inGet + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
	c.expect(ok)
	if head := receive(t, heads); head != "GET /x HTTP/1.1\r\nHost: api.example.com\r\n\r\n" {
		t.Errorf("%q", head)
	}
}

// refusedHello expects the alert and one DENY.
func (w *intercepting) refusedHello(t *testing.T, c *rawClient, cfg *tls.Config, why string) {
	t.Helper()
	w.e.take()
	err := tls.Client(c.TCPConn, cfg).Handshake()
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" || !strings.Contains(err.Error(), "access denied") {
		t.Errorf("%v", err)
	}
	untilLogged(t, w.e, why)
}

// untilLogged waits for the one event that a refusal leaves.
func untilLogged(t *testing.T, e *enforcer, want string) {
	t.Helper()
	e.until(func(log []string) bool { return len(log) > 0 })
	if diff := cmp.Diff([]string{want}, e.take()); diff != "" {
		t.Error(diff)
	}
}

const refusedHere = "refuse api.example.com after ALLOW: MalformedRequest"

func TestServerNames(t *testing.T) {
	heads := make(chan string, 10)
	w := newIntercepting(t, interceptOptions{}, answers(ok, heads))
	for _, name := range []string{"evil.test", "*.example.com", "example.com", "api.example.com.evil.test", strings.Repeat("a", 60) + "." + strings.Repeat("b.", 100) + "test"} {
		t.Run(name, func(t *testing.T) {
			w.refusedHello(t, w.stream(t, "api.example.com:443"), &tls.Config{ServerName: name}, refusedHere)
		})
	}
	t.Run("none", func(t *testing.T) {
		c := w.dial(t, func(cfg *tls.Config) {
			cfg.ServerName, cfg.InsecureSkipVerify = "", true
		})
		if got := c.ConnectionState().PeerCertificates[0].DNSNames; !slices.Equal(got, []string{"api.example.com"}) {
			t.Errorf("the certificate is for %q", got)
		}
		c.send(inGet + "\r\n")
		c.expect(ok)
	})
	t.Run("in capitals", func(t *testing.T) {
		w.dial(t, func(cfg *tls.Config) { cfg.ServerName = "API.example.com" })
	})
	for _, h := range w.ca.hosts() {
		if h != "api.example.com" {
			t.Errorf("a certificate was made for %q", h)
		}
	}
}

// TestBadHellos: what is no ClientHello gets an alert, and one event.
func TestBadHellos(t *testing.T) {
	w := newIntercepting(t, interceptOptions{cfg: Config{HeadTimeout: 100 * time.Millisecond}}, answers(ok, nil))
	for name, b := range map[string]string{
		"another message":       "\x16\x03\x01\x00\x04\x02\x00\x00\x00",
		"an empty record":       "\x16\x03\x01\x00\x00",
		"too long":              "\x16\x03\x01\x00\x04\x01\xff\xff\xff",
		"slow":                  "\x16\x03\x01\x00\x04\x01\x00\x01",
		"one byte in a minute":  "\x16",
		"bytes behind the name": "\x16\x03\x01\x00\x05\x01\x00\x00\x00\x00",
	} {
		t.Run(name, func(t *testing.T) {
			c := w.stream(t, "api.example.com:443")
			w.e.take()
			c.send(b)
			c.expect("\x15\x03\x03\x00\x02\x02\x31")
			c.CloseWrite()
			c.expectEOF()
			untilLogged(t, w.e, refusedHere)
		})
	}
	if made := w.ca.hosts(); len(made) > 0 {
		t.Errorf("certificates were made for %q", made)
	}
}

// TestOtherProtocolsInside: a stream that is neither TLS nor HTTP is a tunnel, and
// judged as one.
func TestOtherProtocolsInside(t *testing.T) {
	for _, allowed := range []bool{true, false} {
		t.Run(fmt.Sprintf("allowed=%v", allowed), func(t *testing.T) {
			w := newIntercepting(t, interceptOptions{plain: true}, func(c net.Conn, r *bufio.Reader) { io.Copy(c, r) })
			if !allowed {
				w.e.decide = deny(verdict.Decision{Outcome: verdict.Deny, Reason: verdict.PolicyDenied})
			}
			c := w.stream(t, "api.example.com:5432")
			c.send("\x00\x00\x00\x08\x04\xd2\x16\x2f")
			if allowed {
				c.expect("\x00\x00\x00\x08\x04\xd2\x16\x2f")
				return
			}
			if b, err := io.ReadAll(c.r); len(b) > 0 || err == nil {
				t.Errorf("%q %v: not reset", b, err)
			}
			if diff := cmp.Diff([]string{"admit ALLOW api.example.com:5432", "DENY CONNECT api.example.com:5432"}, w.e.take()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestPlainInside: HTTP that is not encrypted is judged by call as well.
func TestPlainInside(t *testing.T) {
	heads := make(chan string, 10)
	w := newIntercepting(t, interceptOptions{plain: true}, answers(ok, heads))
	c := w.stream(t, "api.example.com:80")
	c.send(inGet + "\r\n")
	c.expect(ok)
	c.send("GET http://api.example.com/y HTTP/1.1\r\nHost: api.example.com:80\r\n\r\n")
	c.expect(ok)
	c.send("GET /z HTTP/1.1\r\nHost: evil.test\r\n\r\n")
	if status, _, body := c.response(); !strings.Contains(body, "MalformedRequest") {
		t.Errorf("%s %s", status, body)
	}
	if diff := cmp.Diff([]string{"admit ALLOW api.example.com:80", "ALLOW GET api.example.com/x", "ALLOW GET api.example.com/y",
		"malformed http: the request names another host or port than the one its stream leads to"}, w.e.take()); diff != "" {
		t.Error(diff)
	}
	c = w.stream(t, "api.example.com:80")
	c.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	if status, _, body := c.response(); status != "HTTP/1.1 403 Forbidden" || !strings.Contains(body, "MalformedRequest") {
		t.Errorf("%s %s", status, body)
	}
}

func TestAdmitRefused(t *testing.T) {
	w := newIntercepting(t, interceptOptions{}, answers(ok, nil))
	w.e.admit = deny(verdict.Decision{Outcome: verdict.Deny, Reason: verdict.UnclassifiedIntent})
	c := connectTo(t, w.proxy)
	c.send(connectReq + connectReq)
	for range 1 {
		if status, _, body := c.response(); status != "HTTP/1.1 403 Forbidden" || !strings.Contains(body, "UnclassifiedIntent") {
			t.Errorf("%s %s", status, body)
		}
	}
	if w.conns() != 0 || len(w.ca.hosts()) != 0 {
		t.Error("something was done for it")
	}
}

// TestNothingBeforeAnAllow: without a call that could be allowed, and where the
// protocol is settled anyway, the upstream hears nothing before an ALLOW.
func TestNothingBeforeAnAllow(t *testing.T) {
	w := newIntercepting(t, interceptOptions{}, answers(ok, nil))
	w.e.decide = denyPath("/deny")
	c := w.dial(t, func(cfg *tls.Config) { cfg.NextProtos = []string{"h2", "http/1.1"} })
	c.send("GET /deny HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
	c.response()
	if n := w.conns(); n != 0 {
		t.Errorf("%d connections", n)
	}
	c.send(inGet + "\r\n")
	c.expect(ok)
	if n := w.conns(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestUpstreamCertificates: that the origin is not who it says is told to the
// agent inside its TLS.
func TestUpstreamCertificates(t *testing.T) {
	w := newIntercepting(t, interceptOptions{untrusted: true}, answers(ok, nil))
	c := w.dial(t, nil)
	c.send(inGet + "\r\n")
	if status, body := c.response(); status != "HTTP/1.1 504 Gateway Timeout" || !strings.Contains(body, `"CONNECTOR_FAILURE"`) {
		t.Errorf("%s %s", status, body)
	}
	if d := receive(t, w.e.ended); d.Abort != verdict.ConnectorFailure {
		t.Errorf("%+v", d)
	}
}

// TestNotStrict: where looking into a stream fails, a host that is not strict gets
// a tunnel, if that is allowed.
func TestNotStrict(t *testing.T) {
	w := newIntercepting(t, interceptOptions{untrusted: true, strict: []string{}}, answers(ok, nil))
	c := tls.Client(w.stream(t, "api.example.com:443").TCPConn, &tls.Config{ServerName: "api.example.com", InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if issuer := c.ConnectionState().PeerCertificates[0]; issuer.CheckSignatureFrom(w.ca.cert) == nil {
		t.Error("the certificate is firma's")
	}
	c.Close()
	if diff := cmp.Diff([]string{admit, "ALLOW CONNECT api.example.com"}, w.e.take()); diff != "" {
		t.Error(diff)
	}
}

// TestClientDoesNotTrust: the operator learns why the agent fails.
func TestClientDoesNotTrust(t *testing.T) {
	w := newIntercepting(t, interceptOptions{}, answers(ok, nil))
	raw := w.stream(t, "api.example.com:443")
	if err := tls.Client(raw.TCPConn, &tls.Config{ServerName: "api.example.com"}).Handshake(); err == nil {
		t.Fatal("the client trusts a stranger")
	}
	if d := receive(t, w.e.ended); d.Abort != verdict.ConnectorFailure || !strings.Contains(d.Detail, "certificate") {
		t.Errorf("%+v", d)
	}
	raw = w.stream(t, "api.example.com:443")
	err := tls.Client(raw.TCPConn, &tls.Config{ServerName: "api.example.com", NextProtos: []string{"imap"}}).Handshake()
	if err == nil || !strings.Contains(err.Error(), "access denied") {
		t.Errorf("%v", err)
	}
}

func TestRevocationCutsAnInterceptedStream(t *testing.T) {
	w := newIntercepting(t, interceptOptions{}, func(c net.Conn, r *bufio.Reader) {
		readHead(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
		io.Copy(io.Discard, r)
	})
	c := w.dial(t, nil)
	c.send(inGet + "\r\n")
	c.expect("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
	n := w.s.Recheck(func(call *intent.Call, _ verdict.Decision) verdict.Reason {
		if call.Path != "/x" || call.Transport != intent.HTTPS {
			t.Errorf("%+v", call)
		}
		return verdict.CapabilityRevoked
	})
	if n != 1 {
		t.Errorf("%d cut", n)
	}
	if b, _ := io.ReadAll(c.r); len(b) > 0 {
		t.Errorf("the answer goes on: %q", b)
	}
	if d := receive(t, w.e.ended); d.Abort != verdict.CapabilityRevoked {
		t.Errorf("%+v", d)
	}
}

func TestDrainAnInterceptedStream(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	w := newIntercepting(t, interceptOptions{}, func(c net.Conn, r *bufio.Reader) {
		readHead(r)
		close(asked)
		<-release
		io.WriteString(c, ok)
	})
	idle := w.dial(t, nil)
	c := w.dial(t, nil)
	c.send(inGet + "\r\n")
	receive(t, asked)
	done := make(chan error, 1)
	go func() { done <- w.s.Drain(context.Background()) }()
	if b, _ := io.ReadAll(idle.raw); len(b) > 300 { // tickets
		t.Errorf("%q", b)
	}
	close(release)
	c.expect("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
	if b, err := io.ReadAll(c.r); err != nil || len(b) > 0 {
		t.Errorf("%q %v", b, err)
	}
	c.Close()
	if err := receive(t, done); err != nil {
		t.Error(err)
	}
}

// TestNoUnreadWayIn: where a host is looked into, no disguise makes of its TLS or
// HTTP a tunnel that is judged by its destination alone: empty lines or odd bytes
// before or in the request line, which servers forgive, or waiting until the stream
// is taken for one in which the server speaks first.
func TestNoUnreadWayIn(t *testing.T) {
	late := helloBytes(t, func(c *tls.Config) { c.ServerName = "api.example.com" })
	const smuggled = "GET /deny HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
	for _, tt := range []struct {
		name        string
		port        uint16
		first, wire string
		wait        time.Duration // between first and wire
		captured    bool
	}{
		{"an empty line", 80, "", "\r\n" + smuggled, 0, false},
		{"an empty line, captured", 80, "", "\r\n" + smuggled, 0, true},
		{"line feeds", 8080, "", "\n\n" + smuggled, 0, false},
		{"bytes beyond ASCII", 80, "", "GET /\xff HTTP/1.1\r\nHost: api.example.com\r\n\r\n" + smuggled, 0, false},
		{"bytes beyond ASCII, another port", 8080, "", "GET /\xff HTTP/1.1\r\nHost: api.example.com\r\n\r\n" + smuggled, 0, false},
		{"tabs", 8080, "", "GET\t/deny\tHTTP/1.1\r\nHost: api.example.com\r\n\r\n", 0, false},
		{"HTTP/0.9", 8080, "", "GET /deny\r\n", 0, false},
		{"a method nobody knows", 8080, "", "FROB /deny HTTP/1.1\r\n\r\n", 0, false},
		{"no HTTP on its port", 80, "", "\x00" + smuggled, 0, false},
		{"slowly", 80, "G", smuggled[1:], 300 * time.Millisecond, false},
		{"slowly, another port", 8080, "G", smuggled[1:], 300 * time.Millisecond, false},
		{"late TLS", 8443, "", late, 300 * time.Millisecond, true},
		{"late HTTP", 8080, "", smuggled, 300 * time.Millisecond, true},
		{"late HTTP behind an empty line", 8080, "\r\n", smuggled, 300 * time.Millisecond, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := make(chan byte, 1000)
			w := newIntercepting(t, interceptOptions{plain: true, cfg: Config{HeadTimeout: 200 * time.Millisecond}}, func(c net.Conn, r *bufio.Reader) {
				for {
					b, err := r.ReadByte()
					if err != nil {
						return
					}
					got <- b
				}
			})
			w.e.decide = func(c *intent.Call) verdict.Decision {
				if c.Path == "/deny" {
					return verdict.Decision{Outcome: verdict.Deny, Reason: verdict.PolicyDenied}
				}
				return verdict.Decision{Outcome: verdict.Allow}
			}
			var c *rawClient
			if tt.captured {
				c = connectTo(t, w.capturing(t, "api.example.com", tt.port, nil))
			} else {
				c = w.stream(t, fmt.Sprintf("api.example.com:%d", tt.port))
			}
			io.WriteString(c, tt.first)
			time.Sleep(tt.wait)
			io.WriteString(c, tt.wire)
			io.Copy(io.Discard, c.r) // refused, and so closed
			if len(got) > 0 {
				t.Errorf("sent upstream: %q…", <-got)
			}
			refused := func(l string) bool {
				return strings.HasPrefix(l, "refuse ") || strings.HasPrefix(l, "malformed ") || strings.HasPrefix(l, "DENY ")
			}
			w.e.until(func(log []string) bool { return slices.ContainsFunc(log, refused) })
			log, refusals := w.e.take(), 0
			for _, l := range log {
				if refused(l) {
					refusals++
				}
			}
			if refusals != 1 {
				t.Errorf("%q", log)
			}
		})
	}
}
