package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firma/internal/verdict"
)

// capturing serves connections as captured ones to host and port, and returns
// where they are captured.
func (w *intercepting) capturing(t *testing.T, host string, port uint16, err error) string {
	t.Helper()
	ln, lerr := net.Listen("tcp", "127.0.0.1:0")
	if lerr != nil {
		t.Fatal(lerr)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- w.s.ServeStreams(ctx, ln, func(net.Conn) (string, uint16, error) { return host, port, err })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error("ServeStreams:", err)
		}
	})
	return ln.Addr().String()
}

func TestCapturedTLS(t *testing.T) {
	w := newIntercepting(t, interceptOptions{}, answers(ok, nil))
	w.e.decide = denyPath("/deny")
	addr := w.capturing(t, "api.example.com", 443, nil)
	c := w.secure(t, connectTo(t, addr), nil)
	c.send(inGet + "\r\nGET /deny HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
	c.expect(ok)
	if status, _ := c.response(); status != "HTTP/1.1 403 Forbidden" {
		t.Error(status)
	}
	if diff := cmp.Diff([]string{admit, "ALLOW GET api.example.com/x", "DENY GET api.example.com/deny"}, w.e.take()); diff != "" {
		t.Error(diff)
	}
	if err := tls.Client(connectTo(t, addr).TCPConn, &tls.Config{ServerName: "evil.test"}).Handshake(); err == nil {
		t.Error("another name is served")
	}
	w.e.untilLast(t, refusedHere)
	if diff := cmp.Diff([]string{admit, refusedHere}, w.e.take()); diff != "" {
		t.Error(diff)
	}
	w.e.admit = deny(verdict.Decision{Outcome: verdict.Deny, Reason: verdict.UnclassifiedIntent})
	w.refusedHello(t, connectTo(t, addr), &tls.Config{ServerName: "api.example.com"}, "admit DENY api.example.com:443")
}

func TestCapturedTunnel(t *testing.T) {
	ca := newCertAuthority(t)
	leaf, err := ca.For("other.example.com")
	if err != nil {
		t.Fatal(err)
	}
	w := newIntercepting(t, interceptOptions{plain: true}, func(c net.Conn, r *bufio.Reader) {
		tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{*leaf}})
		io.Copy(tc, tc)
	})
	addr := w.capturing(t, "other.example.com", 443, nil)
	tc := tls.Client(connectTo(t, addr).TCPConn, &tls.Config{ServerName: "other.example.com", RootCAs: ca.pool})
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	tc.Close()
	if diff := cmp.Diff([]string{"ALLOW CONNECT other.example.com"}, w.e.take()); diff != "" {
		t.Error(diff)
	}
	w.e.decide = deny(verdict.Decision{Outcome: verdict.Deny, Reason: verdict.PolicyDenied})
	err = tls.Client(connectTo(t, addr).TCPConn, &tls.Config{ServerName: "other.example.com"}).Handshake()
	var op *net.OpError
	if !errors.As(err, &op) || !strings.Contains(err.Error(), "access denied") {
		t.Errorf("%v", err)
	}
}

func TestCapturedHTTP(t *testing.T) {
	for _, port := range []uint16{80, 8080} {
		w := newIntercepting(t, interceptOptions{plain: true}, answers(ok, nil))
		w.e.decide = denyPath("/deny")
		addr := w.capturing(t, "other.example.com", port, nil)
		host := "other.example.com"
		if port != 80 {
			host += ":8080"
		}
		c := connectTo(t, addr)
		c.send("GET /x HTTP/1.1\r\nHost: " + host + "\r\n\r\nGET /deny HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
		c.expect(ok)
		if status, _, body := c.response(); status != "HTTP/1.1 403 Forbidden" || !strings.Contains(body, "PolicyDenied") {
			t.Errorf("%s %s", status, body)
		}
		c.send("GET /x HTTP/1.1\r\nHost: evil.test\r\n\r\n")
		if status, _, body := c.response(); status != "HTTP/1.1 403 Forbidden" || !strings.Contains(body, "MalformedRequest") {
			t.Errorf("%s %s", status, body)
		}
		want := []string{"ALLOW GET " + host + "/x", "DENY GET " + host + "/deny", "malformed http: the request names another host or port than the one its stream leads to"}
		if diff := cmp.Diff(want, w.e.take()); diff != "" {
			t.Error(diff)
		}
	}
}

// TestCapturedOther: what is neither TLS nor HTTP is decided by host and port.
func TestCapturedOther(t *testing.T) {
	for name, tt := range map[string]struct {
		own, first string
		serverSays string
	}{
		"client first": {"", "\x00\x00\x00\x08\x04\xd2\x16\x2f", ""},
		"server first": {"", "", "J\x00\x00\x00\n8.0"},
		"an own rule":  {"db.example.com:3306", "GET / HTTP/1.1\r\n\r\n", "J"},
	} {
		for _, allowed := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				w := newIntercepting(t, interceptOptions{plain: true}, func(c net.Conn, r *bufio.Reader) {
					io.WriteString(c, tt.serverSays)
					io.Copy(c, r)
				})
				w.e.own = tt.own
				if !allowed {
					w.e.decide = deny(verdict.Decision{Outcome: verdict.Deny, Reason: verdict.PolicyDenied})
				}
				addr := w.capturing(t, "db.example.com", 3306, nil)
				if !allowed && tt.own != "" {
					expectReset(t, addr)
					return
				}
				c := connectTo(t, addr)
				if tt.first != "" {
					c.send(tt.first)
				}
				if allowed {
					c.expect(tt.serverSays + tt.first)
					return
				}
				if b, err := io.ReadAll(c.r); len(b) > 0 || err == nil {
					t.Errorf("%q %v: not reset", b, err)
				}
				if diff := cmp.Diff([]string{"DENY CONNECT db.example.com:3306"}, w.e.take()); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestCapturedFromNowhere(t *testing.T) {
	w := newIntercepting(t, interceptOptions{}, answers(ok, nil))
	for _, addr := range []string{w.capturing(t, "", 0, errTest), w.capturing(t, "", 443, nil), w.capturing(t, "a b", 443, nil), w.capturing(t, "a.test", 0, nil)} {
		expectReset(t, addr)
		if diff := cmp.Diff([]string{"malformed capture: where the connection was meant to go is not known"}, w.e.take()); diff != "" {
			t.Error(diff)
		}
	}
	if w.s.ServeStreams(context.Background(), nil, nil) == nil {
		t.Error("destinations are unknown and it serves")
	}
}

// expectReset connects, and requires that nothing comes but a reset, which may be
// so early that it is the connect that reports it.
func expectReset(t *testing.T, addr string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer c.Close()
	if b, err := io.ReadAll(c); len(b) > 0 || err == nil {
		t.Errorf("%q %v: not reset", b, err)
	}
}

// A connection to a port of the web that ends before it is clear what it is for
// leaves a record and reaches nobody, whatever it began with. A refusal is recorded
// only where something was said.
func TestCapturedLeft(t *testing.T) {
	for _, begins := range []string{"", "GE"} {
		for _, port := range []uint16{80, 443} {
			want := leftUnread
			if begins == "" {
				want = fmt.Sprintf("admit ALLOW api.example.com:%d", port)
			}
			w := newIntercepting(t, interceptOptions{plain: true}, answers(ok, nil))
			c := connectTo(t, w.capturing(t, "api.example.com", port, nil))
			c.send(begins)
			c.CloseWrite()
			w.e.untilLast(t, want)
			log := w.e.take()
			if len(log) != 1 || log[0] != want {
				t.Errorf("%q to port %d: %q", begins, port, log)
			}
			c.Close()
		}
	}
}

const leftUnread = "refuse api.example.com after DENY: MalformedRequest"
