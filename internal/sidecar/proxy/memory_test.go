package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"firma/internal/intent"
	"firma/internal/sidecar/allowance"
	"firma/internal/verdict"
)

// bookkeeper remembers refusals, also those without a call.
type bookkeeper struct{ *enforcer }

func (b bookkeeper) Refuse(_ context.Context, c *intent.Call, prior verdict.Decision, r verdict.Reason, detail string) verdict.Decision {
	what := prior.Resource
	if c != nil {
		what = c.HostKey()
	}
	b.note("refuse %s after %s: %s", what, prior.Outcome, r)
	prior.Outcome, prior.Reason, prior.Detail, prior.EventID = verdict.Deny, r, detail, "aevt_r"
	return prior
}

// TestNoMemory: what needs memory that the session does not have is refused with
// the reason; what needs none is served as ever.
func TestNoMemory(t *testing.T) {
	addr, _, _ := answering(t, ok)
	e := bookkeeper{&enforcer{}}
	mine := allowance.New(100)
	s, at := start(t, Config{Enforcer: e, Dialer: dialTo(addr), Memory: mine})
	many := ""
	for i := range 100 {
		many += pkt(fmt.Sprintf("%s %s refs/heads/b%d\n", oldID, newID, i))
	}
	for _, tt := range []struct{ name, send, log string }{
		{"long head", "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nX: " + strings.Repeat("x", 9000), "refuse (unread http request) after DENY: SessionMemoryExhausted"},
		{"push", pushHead + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(many)) + many, "refuse api.example.com after DENY: SessionMemoryExhausted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := connectTo(t, at)
			c.send(tt.send)
			status, head, body := c.response()
			if status != "HTTP/1.1 503 Service Unavailable" || !strings.Contains(head, "Retry-After: 1\r\n") || !strings.Contains(body, `"SessionMemoryExhausted"`) {
				t.Errorf("%s\n%s", head, body)
			}
			if log := e.take(); len(log) != 1 || log[0] != tt.log {
				t.Errorf("recorded: %q", log)
			}
		})
	}
	c := connectTo(t, at)
	c.send("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n")
	if status, _, body := c.response(); status != "HTTP/1.1 200 OK" || body != "ok" {
		t.Errorf("a request that needs no memory: %s", status)
	}
	c.Close()
	if s.Drain(context.Background()); mine.Used() != 0 {
		t.Errorf("%d bytes are held when all is over", mine.Used())
	}
}

// TestLittleMemoryIsEnough: bodies of any size pass through a session that may hold
// nothing, and what was held is given back.
func TestLittleMemoryIsEnough(t *testing.T) {
	for _, memory := range []int64{0, 1, 200 << 10, 64 << 20} {
		t.Run(fmt.Sprint(memory), func(t *testing.T) {
			addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
				for {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					body, err := io.ReadAll(req.Body)
					if err != nil {
						return
					}
					fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
				}
			})
			mine := allowance.New(memory)
			s, at := start(t, Config{Dialer: dialTo(addr), Memory: mine})
			body := strings.Repeat("0123456789", 100_000)
			c := connectTo(t, at)
			for _, framed := range []string{fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body), "Transfer-Encoding: chunked\r\n\r\n" + chunks(body, 50_000)} {
				go io.WriteString(c, "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\n"+framed)
				if status, _, got := c.response(); status != "HTTP/1.1 200 OK" || got != body {
					t.Fatalf("%s, %d bytes", status, len(got))
				}
			}
			c.Close()
			if s.Drain(context.Background()); mine.Used() != 0 {
				t.Errorf("%d bytes are held when all is over", mine.Used())
			}
		})
	}
}
