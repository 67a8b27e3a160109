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

	"firma/internal/intent"
	"firma/internal/verdict"
)

const (
	pushHead = "POST http://api.example.com/o/r.git/git-receive-pack HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/x-git-receive-pack-request\r\n"
	oldID    = "1111111111111111111111111111111111111111"
	newID    = "2222222222222222222222222222222222222222"
	zeroID   = "0000000000000000000000000000000000000000"
)

func pkt(s string) string { return fmt.Sprintf("%04x%s", len(s)+4, s) }

func command(from, to, ref string) string {
	return pkt(from+" "+to+" "+ref+"\x00 report-status") + "0000"
}

// received is one request as net/http read it, with its body.
type received struct {
	head http.Header
	body string
	size int64
}

// httpOrigin reads requests whole and answers 200.
func httpOrigin(t *testing.T) (string, <-chan received) {
	t.Helper()
	got := make(chan received, 8)
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
			got <- received{req.Header, string(body), req.ContentLength}
			if _, err := io.WriteString(c, ok); err != nil {
				return
			}
		}
	})
	return addr, got
}

// TestPush: the commands are judged before anything is sent, and what is sent is
// what came.
func TestPush(t *testing.T) {
	big := strings.Repeat("P", 200<<10)
	many := ""
	for i := range 2000 {
		many += pkt(fmt.Sprintf("%s %s refs/heads/b%d\n", oldID, newID, i))
	}
	for _, tt := range []struct{ name, fields, wire, body, refs string }{
		{"length", fmt.Sprintf("Content-Length: %d\r\n", len(command(oldID, newID, "refs/heads/x"))+4), command(oldID, newID, "refs/heads/x") + "PACK", "", "refs/heads/x"},
		{"removal", "Transfer-Encoding: chunked\r\n", chunks(command(oldID, zeroID, "refs/heads/x"), 7), command(oldID, zeroID, "refs/heads/x"), "-refs/heads/x"},
		{"chunked, a byte each", "Transfer-Encoding: chunked\r\n", chunks(command(oldID, newID, "refs/heads/x")+"PACK", 1), command(oldID, newID, "refs/heads/x") + "PACK", "refs/heads/x"},
		{"large pack", "Transfer-Encoding: chunked\r\n", chunks(command(oldID, newID, "refs/tags/x")+big, 9000), command(oldID, newID, "refs/tags/x") + big, "refs/tags/x"},
		{"many refs", fmt.Sprintf("Content-Length: %d\r\n", len(many)+4+len(big)), many + "0000" + big, "", "2000"},
		{"probe", "Content-Length: 4\r\n", "0000", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.body == "" {
				tt.body = tt.wire
			}
			addr, got := httpOrigin(t)
			refs := ""
			_, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: &enforcer{decide: func(c *intent.Call) verdict.Decision {
				if c.Push == nil {
					return verdict.Decision{}
				}
				if n := len(c.Push.Updates); n > 1 {
					refs = fmt.Sprint(n)
				} else if n == 1 {
					if refs = c.Push.Updates[0].Ref; c.Push.Updates[0].Delete {
						refs = "-" + refs
					}
				}
				return verdict.Decision{Outcome: verdict.Allow}
			}}})
			c := connectTo(t, proxy)
			go io.WriteString(c.TCPConn, pushHead+tt.fields+"X-Last: 1\r\n\r\n"+tt.wire)
			if status, head, _ := c.response(); status != "HTTP/1.1 200 OK" {
				t.Fatal(head)
			}
			r := receive(t, got)
			if r.body != tt.body || r.head.Get("X-Last") != "1" || refs != tt.refs {
				t.Errorf("judged %q; sent %d bytes of %d, %v", refs, len(r.body), len(tt.body), r.head)
			}
			// The connection is in step.
			c.send(get + "\r\n")
			c.response()
		})
	}
}

// TestPushExpects: a client that waits for 100 Continue gets it from here, since
// nobody else has heard of the request yet.
func TestPushExpects(t *testing.T) {
	addr, got := httpOrigin(t)
	_, proxy := start(t, Config{Dialer: dialTo(addr)})
	c := connectTo(t, proxy)
	body := command(oldID, newID, "refs/heads/x")
	c.send(pushHead + fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(body)))
	c.expect("HTTP/1.1 100 Continue\r\n\r\n")
	c.send(body)
	if status, head, _ := c.response(); status != "HTTP/1.1 200 OK" {
		t.Fatal(head)
	}
	if r := receive(t, got); r.body != body || r.head.Get("Expect") != "" {
		t.Errorf("%q %v", r.body, r.head)
	}
}

// TestPushRefused: nothing is sent of a push that is refused or can't be read.
func TestPushRefused(t *testing.T) {
	for _, tt := range []struct {
		name, fields, body, log string
		decide                  func(*intent.Call) verdict.Decision
	}{
		{"denied", "Content-Length: 1000000\r\n", command(oldID, newID, "refs/heads/x"), "DENY POST api.example.com/o/r.git/git-receive-pack",
			deny(verdict.Decision{Outcome: verdict.Deny, Reason: verdict.PolicyDenied})},
		{"malformed", "Content-Length: 8\r\n", "garbage!", "malformed http: the commands of a git push are malformed: a packet's length is no number", nil},
		{"compressed", "Content-Encoding: gzip\r\nContent-Length: 4\r\n", "0000", "malformed http: the commands of a git push are encoded; push without compressing the request", nil},
		{"compressed, as CGI spells it", "Content_Encoding: gzip\r\nContent-Length: 4\r\n", "0000", "malformed http: the commands of a git push are encoded; push without compressing the request", nil},
		{"cut short", "Content-Length: 2\r\n", "00", "malformed http: the commands of a git push are not complete", nil},
		{"no body", "", "", "malformed http: the commands of a git push are not complete", nil},
		{"bad chunk", "Transfer-Encoding: chunked\r\n", "zz\r\n", "malformed http: a chunk size is not a hexadecimal number", nil},
		{"silence", "Content-Length: 2000\r\n", "00", "malformed http: the commands of a git push did not arrive in time", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := &enforcer{decide: tt.decide}
			_, proxy := start(t, Config{Enforcer: e, HeadTimeout: 300 * time.Millisecond, Dialer: dialTo("127.0.0.1:1")})
			c := connectTo(t, proxy)
			c.send(pushHead + tt.fields + "\r\n" + tt.body)
			if status, head, _ := c.response(); status != "HTTP/1.1 403 Forbidden" {
				t.Error(head)
			}
			c.CloseWrite()
			if log := e.take(); len(log) != 1 || log[0] != tt.log {
				t.Errorf("%q", log)
			}
		})
	}
}

// chunks is s in chunked coding, n bytes each.
func chunks(s string, n int) string {
	var b strings.Builder
	for len(s) > 0 {
		m := min(n, len(s))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", m, s[:m])
		s = s[m:]
	}
	return b.String() + "0\r\n\r\n"
}
