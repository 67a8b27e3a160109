package proxy

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
)

// TestDoubtfulConnections: an upstream connection on which a faulty server may answer
// once more is not used again; others are.
func TestDoubtfulConnections(t *testing.T) {
	const head = "HEAD http://api.example.com/x HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
	const sneaked = "GET /y HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
	for _, tt := range []struct {
		name, request, body, response string
		kept                          bool
	}{
		{"HEAD", head, "", "HTTP/1.1 200 OK\r\n\r\n", true},
		{"HEAD of nothing", head, "", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true},
		{"HEAD with a length", head, "", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", false},
		{"HEAD with chunks", head, "", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false},
		{"304", get + "\r\n", "", "HTTP/1.1 304 Not Modified\r\n\r\n", true},
		{"304 with a length", get + "\r\n", "", "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n", false},
		{"204 with chunks", get + "\r\n", "", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", false},
		{"JSON", post + "Content-Length: 7\r\n\r\n", `{"a":1}`, ok, true},
		{"a form", post + "Content-Length: 7\r\n\r\n", `a=1&b=2`, ok, true},
		{"a request", post + "Content-Length: 44\r\n\r\n", sneaked + "..", ok, false},
		{"a request in chunks", post + "Transfer-Encoding: chunked\r\n\r\n", "2\r\nGE\r\n6\r\nT /y H\r\n0\r\n\r\n", ok, false},
		{"a request behind empty lines", post + "Content-Length: 10\r\n\r\n", "\r\n\r\n GET /", ok, false},
		{"Expect that nobody answered", post + "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n", "{}", ok, false},
	} {
		for _, late := range []bool{false, true} {
			expects := strings.Contains(tt.request, "Expect")
			if expects && !late || late && tt.body == "" {
				continue // a body that comes along needs no leave
			}
			t.Run(tt.name, func(t *testing.T) {
				heads := make(chan string, 2)
				addr, conns := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
					for {
						got, err := readHead(r)
						if err != nil {
							return
						}
						heads <- got
						switch {
						case strings.HasPrefix(got, "GET http"), !strings.HasPrefix(got, "POST"):
						case strings.Contains(got, "chunked"):
							for line := ""; line != "0\r\n"; {
								line, _ = r.ReadString('\n')
							}
							readHead(r)
						default:
							io.CopyN(io.Discard, r, int64(len(tt.body)))
						}
						io.WriteString(c, tt.response)
					}
				})
				_, proxy := start(t, Config{Dialer: dialTo(addr)})
				c := connectTo(t, proxy)
				if late {
					c.send(tt.request)
					receive(t, heads)
					c.send(tt.body)
				} else {
					c.send(tt.request + tt.body)
				}
				line, err := c.r.ReadString('\n')
				if err != nil || !strings.HasPrefix(line, "HTTP/1.1 ") || strings.Contains(line, "504") {
					t.Fatalf("%q, %v", line, err)
				}
				for line != "\r\n" && err == nil {
					line, err = c.r.ReadString('\n')
				}
				if tt.response == ok {
					io.CopyN(io.Discard, c.r, 2)
				}
				c.send(get + "\r\n")
				if line, err := c.r.ReadString('\n'); err != nil || !strings.HasPrefix(line, tt.response[:12]) {
					t.Fatalf("%q, %v", line, err)
				}
				if n := conns(); tt.kept != (n == 1) {
					t.Errorf("%d upstream connections", n)
				}
			})
		}
	}
}
