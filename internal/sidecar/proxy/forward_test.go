package proxy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firma/internal/intent"
	"firma/internal/verdict"
)

const get = "GET http://api.example.com/x HTTP/1.1\r\nHost: api.example.com\r\n"

// TestWhatIsSent compares the exact bytes upstream with what the agent wrote.
func TestWhatIsSent(t *testing.T) {
	redact := func(*intent.Call) verdict.Decision {
		return verdict.Decision{Outcome: verdict.Modify, RedactHeaders: []string{"X-Secret", "cookie"}}
	}
	for _, tt := range []struct {
		name, wire, want string
		decide           func(*intent.Call) verdict.Decision
	}{
		{"as is", get + "Accept: */*\r\nX-A: 1\r\nX-A: 2\r\n\r\n",
			"GET /x HTTP/1.1\r\nHost: api.example.com\r\nAccept: */*\r\nX-A: 1\r\nX-A: 2\r\n\r\n", nil},
		{"canonical target and host", "GET http://API.Example.com:80/a/../%7Eb?q=%41 HTTP/1.1\r\nHost: api.example.COM.:80\r\n\r\n",
			"GET /~b?q=A HTTP/1.1\r\nHost: api.example.com\r\n\r\n", nil},
		{"empty path", "GET http://api.example.com?a HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
			"GET /?a HTTP/1.1\r\nHost: api.example.com\r\n\r\n", nil},
		{"other port", "GET http://api.example.com:8080/ HTTP/1.1\r\nHost: api.example.com:8080\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: api.example.com:8080\r\n\r\n", nil},
		{"IPv6", "GET http://[2606:4700::1]/ HTTP/1.1\r\nHost: [2606:4700:0::1]\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: [2606:4700::1]\r\n\r\n", nil},
		{"1.0 goes up as 1.1", "GET http://api.example.com/x HTTP/1.0\r\n\r\n", "GET /x HTTP/1.1\r\nHost: api.example.com\r\n\r\n", nil},
		{"hop-by-hop", get + "Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\n" +
			"Proxy-Authorization: Basic x\r\nProxy-Anything: x\r\nTE: trailers\r\nTrailer: X\r\nX-End: 1\r\n\r\n",
			"GET /x HTTP/1.1\r\nHost: api.example.com\r\nX-End: 1\r\n\r\n", nil},
		{"firma's own", get + "X-Firma-Session-Id: 1\r\nx_firma_agent: 2\r\nx-FIRMA_x: 3\r\nX-Firmament: 4\r\n\r\n",
			"GET /x HTTP/1.1\r\nHost: api.example.com\r\nX-Firmament: 4\r\n\r\n", nil},
		{"h2c", get + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
			"GET /x HTTP/1.1\r\nHost: api.example.com\r\n\r\n", nil},
		{"websocket and h2c", get + "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n",
			"GET /x HTTP/1.1\r\nHost: api.example.com\r\n\r\n", nil},
		{"websocket not asked by Connection", get + "Upgrade: websocket\r\n\r\n",
			"GET /x HTTP/1.1\r\nHost: api.example.com\r\n\r\n", nil},
		{"websocket", get + "Connection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: x\r\n\r\n",
			"GET /x HTTP/1.1\r\nHost: api.example.com\r\nSec-WebSocket-Key: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", nil},
		{"websocket with an empty body", get + "Connection: Upgrade\r\nContent-Length: 0\r\nSec-WebSocket-Key: x\r\nUpgrade: websocket\r\n\r\n",
			"GET /x HTTP/1.1\r\nHost: api.example.com\r\nSec-WebSocket-Key: x\r\nContent-Length: 0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", nil},
		{"websocket without a key", get + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
			"GET /x HTTP/1.1\r\nHost: api.example.com\r\n\r\n", nil},
		{"websocket with two keys", get + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Key: x\r\n\r\n",
			"GET /x HTTP/1.1\r\nHost: api.example.com\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Key: x\r\n\r\n", nil},
		{"websocket with a body", get + "Connection: Upgrade\r\nContent-Length: 1\r\nUpgrade: websocket\r\n\r\nx",
			"GET /x HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 1\r\n\r\n", nil},
		{"redacted", get + "X-Secret: 1\r\nx_secret: 2\r\nCookie: a\r\nX-Other: 3\r\n\r\n",
			"GET /x HTTP/1.1\r\nHost: api.example.com\r\nX-Other: 3\r\n\r\n", redact},
		{"override is canonical", get + "X-HTTP-Method-Override: delete\r\nx_http_method: DELETE\r\n\r\n",
			"GET /x HTTP/1.1\r\nHost: api.example.com\r\nX-HTTP-Method-Override: DELETE\r\n\r\n", nil},
		{"obs-text passes", get + "X: \xe9\r\n\r\n", "GET /x HTTP/1.1\r\nHost: api.example.com\r\nX: \xe9\r\n\r\n", nil},
		{"an expectation without a body", get + "Expect: 100-continue\r\n\r\n", "GET /x HTTP/1.1\r\nHost: api.example.com\r\n\r\n", nil},
		{"empty body", "POST http://api.example.com/x HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 00\r\n\r\n",
			"POST /x HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 0\r\n\r\n", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, heads, _ := answering(t, ok)
			_, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: &enforcer{decide: tt.decide}})
			c := connectTo(t, proxy)
			c.send(tt.wire)
			if status, head, body := c.response(); status != "HTTP/1.1 200 OK" || body != "ok" {
				t.Errorf("%s %s", head, body)
			}
			if diff := cmp.Diff(tt.want, receive(t, heads)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestWhatComesBack compares the exact bytes of responses.
func TestWhatComesBack(t *testing.T) {
	const req = get + "\r\n"
	const req10 = "GET http://api.example.com/x HTTP/1.0\r\n\r\n"
	const head = "HEAD http://api.example.com/x HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
	for _, tt := range []struct{ name, wire, response, want string }{
		{"length", req, "HTTP/1.1 200 Fine\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 Fine\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nok"},
		{"chunked", req, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
		{"trailers", req, "HTTP/1.1 200 OK\r\nTrailer: Grpc-Status\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nGrpc-Status: 0\r\nSet-Cookie: a\r\nX-Firma-Event: a\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nGrpc-Status: 0\r\n\r\n"},
		{"hop-by-hop", req, "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 1\r\nProxy-Authenticate: x\r\nX-Firma-Event: forged\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"no reason", req, "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"},
		{"no content", req, "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"},
		{"no content with a length", req, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"},
		{"not modified", req, "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"},
		{"HEAD", head, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"},
		{"HEAD, chunked", head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"},
		{"early hints", req, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok},
		{"100 nobody asked for", req, "HTTP/1.1 100 Continue\r\n\r\n" + ok, ok},
		{"1.0 client", req10, ok, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"},
		{"1.0 client, chunked", req10, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok"},
		{"1.0 client, early hints", req10, "HTTP/1.1 103 Early Hints\r\n\r\n" + ok, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"},
		{"close asked", get + "Connection: close\r\n\r\n", ok, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, _, _ := answering(t, tt.response)
			_, proxy := start(t, Config{Dialer: dialTo(addr)})
			c := connectTo(t, proxy)
			c.send(tt.wire)
			c.expect(tt.want)
			if strings.Contains(tt.want, "Connection: close") {
				c.expectEOF()
				return
			}
			c.send(tt.wire) // the connection is in step
			c.expect(tt.want)
		})
	}
}

func TestKeepAliveOf10(t *testing.T) {
	addr, _, _ := answering(t, ok)
	_, proxy := start(t, Config{Dialer: dialTo(addr)})
	c := connectTo(t, proxy)
	for range 2 {
		c.send("GET http://api.example.com/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
		c.expect("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok")
	}
}
