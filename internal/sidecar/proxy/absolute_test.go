package proxy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAbsoluteHTTPS: a client that asks the proxy for an https URL, without CONNECT,
// is judged by method and path, and the TLS upstream is the proxy's.
func TestAbsoluteHTTPS(t *testing.T) {
	heads := make(chan string, 10)
	w := newIntercepting(t, interceptOptions{}, answers(ok, heads))
	w.e.decide = denyPath("/deny")
	c := connectTo(t, w.proxy)
	c.send("GET https://API.example.com/a/../x?b=%63 HTTP/1.1\r\nHost: api.example.com\r\n\r\n" +
		"GET HTTPS://api.example.com/deny HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n" + // pipelined
		"GET https://api.example.com HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
	c.expect(ok)
	if status, _, body := c.response(); status != "HTTP/1.1 403 Forbidden" || !strings.Contains(body, `"PolicyDenied"`) {
		t.Errorf("%s %s", status, body)
	}
	c.expect(ok)
	want := []string{"GET /x?b=c HTTP/1.1\r\nHost: api.example.com\r\n\r\n", "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n"}
	if diff := cmp.Diff(want, []string{receive(t, heads), receive(t, heads)}); diff != "" {
		t.Error(diff)
	}
	if w.conns() != 1 {
		t.Errorf("%d upstream connections", w.conns())
	}
	if diff := cmp.Diff([]string{"ALLOW GET api.example.com/x?b=c", "DENY GET api.example.com/deny", "ALLOW GET api.example.com/"}, w.e.take()); diff != "" {
		t.Error(diff)
	}
}

// The port that a Host field leaves out is the scheme's.
func TestAbsoluteHTTPSOtherHost(t *testing.T) {
	w := newIntercepting(t, interceptOptions{}, answers(ok, nil))
	for _, host := range []string{"api.example.com:80", "evil.test", "api.example.com:8443"} {
		c := connectTo(t, w.proxy)
		c.send("GET https://api.example.com/x HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
		if status, _, body := c.response(); status != "HTTP/1.1 403 Forbidden" || !strings.Contains(body, `"MalformedRequest"`) {
			t.Errorf("%s: %s %s", host, status, body)
		}
	}
	if w.conns() != 0 {
		t.Errorf("%d upstream connections", w.conns())
	}
}

// TestAbsoluteHTTPSUntrusted: who does not verify is nobody's origin.
func TestAbsoluteHTTPSUntrusted(t *testing.T) {
	heads := make(chan string, 10)
	w := newIntercepting(t, interceptOptions{untrusted: true}, answers(ok, heads))
	c := connectTo(t, w.proxy)
	c.send("GET https://api.example.com/x HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
	if status, _, body := c.response(); status != "HTTP/1.1 504 Gateway Timeout" || !strings.Contains(body, `"CONNECTOR_FAILURE"`) {
		t.Errorf("%s %s", status, body)
	}
	if len(heads) > 0 {
		t.Errorf("the origin got %q", <-heads)
	}
}
