package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"firma/internal/verdict"
)

// TestMaxBody: a body beyond the limit is refused with 413 and recorded so, whether
// that shows in its head, in what came with it, or on the way; one at the limit
// passes.
func TestMaxBody(t *testing.T) {
	const most = 100_000
	arrived := make(chan error, 1)
	addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			n, err := io.Copy(io.Discard, req.Body)
			if err != nil {
				arrived <- err
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(fmt.Sprint(n)), fmt.Sprint(n))
		}
	})
	post := "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\n"
	long := strings.Repeat("x", most)
	for _, tt := range []struct {
		name, send string
		status     string
		log        []string
		brokenOff  bool // the upstream saw the beginning
	}{
		{"announced, at the limit", post + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", most, long), "200 OK", nil, false},
		{"announced, beyond", post + fmt.Sprintf("Content-Length: %d\r\n\r\n", most+1), "413 Content Too Large", []string{"refuse a.test after DENY: RequestBodyTooLarge"}, false},
		{"announced, with 100-continue", post + fmt.Sprintf("Content-Length: %d\r\nExpect: 100-continue\r\n\r\n", most+1), "413 Content Too Large", []string{"refuse a.test after DENY: RequestBodyTooLarge"}, false},
		{"chunked, at the limit", post + "Transfer-Encoding: chunked\r\n\r\n" + chunks(long, 30_000), "200 OK", nil, false},
		{"chunked, beyond at once", post + "Transfer-Encoding: chunked\r\n\r\nfffff\r\n", "413 Content Too Large", []string{"enforce POST a.test/", "refuse a.test after ALLOW: RequestBodyTooLarge"}, false},
		{"chunked, beyond on the way", post + "Transfer-Encoding: chunked\r\n\r\n" + chunks(long+"x", 30_000), "413 Content Too Large", []string{"enforce POST a.test/", "refuse a.test after ALLOW: RequestBodyTooLarge"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := &enforcer{}
			_, at := start(t, Config{Enforcer: bookkeeper{e}, Dialer: dialTo(addr), MaxBody: most})
			c := connectTo(t, at)
			go io.WriteString(c, tt.send)
			status, _, body := c.response()
			if status != "HTTP/1.1 "+tt.status || strings.Contains(body, "RequestBodyTooLarge") != (tt.log != nil) {
				t.Errorf("%s: %s", status, body)
			}
			if tt.brokenOff {
				if err := receive(t, arrived); err == nil {
					t.Error("the upstream took it for complete")
				}
			}
			if tt.log == nil {
				return
			}
			refused := false
			for _, line := range e.take() {
				refused = refused || line == tt.log[len(tt.log)-1]
			}
			if !refused {
				t.Errorf("%q is not recorded", tt.log[len(tt.log)-1])
			}
		})
	}
}

// TestHostTimeout: a host's own time to answer counts, not the usual one.
func TestHostTimeout(t *testing.T) {
	addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) { io.Copy(io.Discard, r) })
	e := &enforcer{ended: make(chan Dispatch, 1)}
	_, at := start(t, Config{Enforcer: e, Dialer: dialTo(addr), HostTimeout: func(host string) time.Duration {
		if host != "slow.test" {
			return 0
		}
		return 60 * time.Millisecond
	}})
	c := connectTo(t, at)
	c.send("GET http://slow.test/ HTTP/1.1\r\nHost: slow.test\r\n\r\n")
	if status, _, body := c.response(); status != "HTTP/1.1 504 Gateway Timeout" || !strings.Contains(body, string(verdict.ConnectorTimeout)) {
		t.Errorf("%s: %s", status, body)
	}
	if d := receive(t, e.ended); d.Abort != verdict.ConnectorTimeout {
		t.Errorf("%+v", d)
	}
}
