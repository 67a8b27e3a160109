package proxy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firma/internal/verdict"
)

// TestInsideEventsArrive: what the origin flushes reaches the agent before the
// next piece is there.
func TestInsideEventsArrive(t *testing.T) {
	seen := make(chan struct{})
	w := newIntercepting(t, interceptOptions{}, func(c net.Conn, r *bufio.Reader) {
		readHead(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range 5 {
			<-seen
			io.WriteString(c, "8\r\ndata: x\n\r\n")
		}
		io.WriteString(c, "0\r\nX-Sum: 5\r\nContent-Length: 3\r\n\r\n")
	})
	c := w.dial(t, nil)
	c.send(inGet + "\r\n")
	c.expect("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
	for range 5 {
		seen <- struct{}{}
		c.expect("8\r\ndata: x\n\r\n")
	}
	c.expect("0\r\nX-Sum: 5\r\n\r\n") // trailers, without what would frame
}

func TestInsideLargeBodies(t *testing.T) {
	const size = 16 << 20
	for _, chunked := range []bool{false, true} {
		t.Run(fmt.Sprintf("chunked=%v", chunked), func(t *testing.T) {
			var up, down checker
			w := newIntercepting(t, interceptOptions{}, func(c net.Conn, r *bufio.Reader) {
				readHead(r)
				if chunked {
					copyChunks(&up, r)
					io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
					writeChunks(c, size)
					return
				}
				io.CopyN(&up, r, size)
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
				io.CopyN(struct{ io.Writer }{c}, &pattern{}, size)
			})
			c := w.dial(t, nil)
			if chunked {
				c.send(inPost + "Transfer-Encoding: chunked\r\n\r\n")
				writeChunks(c, size)
				readHead(c.r)
				copyChunks(&down, c.r)
			} else {
				c.send(inPost + fmt.Sprintf("Content-Length: %d\r\n\r\n", size))
				io.CopyN(struct{ io.Writer }{c}, &pattern{}, size)
				readHead(c.r)
				io.CopyN(&down, c.r, size)
			}
			if up.n != size || up.bad || down.n != size || down.bad {
				t.Errorf("up %d (damaged: %v), down %d (damaged: %v)", up.n, up.bad, down.n, down.bad)
			}
			if d := receive(t, w.e.ended); d.RequestBytes != size || d.ResponseBytes != size || d.Abort != verdict.None {
				t.Errorf("%+v", d)
			}
		})
	}
}

func TestInsideContinue(t *testing.T) {
	w := newIntercepting(t, interceptOptions{}, func(c net.Conn, r *bufio.Reader) {
		for {
			if _, err := readHead(r); err != nil {
				return
			}
			io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
			b := make([]byte, 5)
			io.ReadFull(r, b)
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n%s", b)
		}
	})
	c := w.dial(t, nil)
	for range 2 {
		c.send(inPost + "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
		c.expect("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
		c.send("hello")
		c.expect("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
	}
}

func TestInsideHTTP10(t *testing.T) {
	w := newIntercepting(t, interceptOptions{}, answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", nil))
	c := w.dial(t, nil)
	c.send("GET /x HTTP/1.0\r\n\r\n")
	if b, err := io.ReadAll(c.r); err != nil || string(b) != "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok" {
		t.Errorf("%q %v", b, err)
	}
}

// TestInsideRedirects: a redirect is the client's: it is passed on, and where it
// leads is judged when the client asks for it.
func TestInsideRedirects(t *testing.T) {
	const found = "HTTP/1.1 302 Found\r\nLocation: https://evil.test/y\r\nContent-Length: 0\r\n\r\n"
	w := newIntercepting(t, interceptOptions{}, answers(found, nil))
	w.e.decide = denyPath("/y")
	c := w.dial(t, nil)
	c.send(inGet + "\r\n")
	c.expect(found)
	c.send("GET /y HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
	if status, _ := c.response(); status != "HTTP/1.1 403 Forbidden" {
		t.Error(status)
	}
	if diff := cmp.Diff([]string{admit, "ALLOW GET api.example.com/x", "DENY GET api.example.com/y"}, w.e.take()); diff != "" {
		t.Error(diff)
	}
}

func TestInsideWebSocket(t *testing.T) {
	const asked, answer = "\x81\x85\x00\x00\x00\x00hello", "\x81\x05hello" // a client masks
	w := newIntercepting(t, interceptOptions{}, func(c net.Conn, r *bufio.Reader) {
		readHead(r)
		io.WriteString(c, switched)
		for b := make([]byte, len(asked)); ; {
			if _, err := io.ReadFull(r, b); err != nil {
				return
			}
			io.WriteString(c, answer)
		}
	})
	c := w.dial(t, nil)
	c.send(inGet + handshake + "\r\n")
	c.expect(switched)
	for range 3 {
		c.send(asked)
		c.expect(answer)
	}
	c.Conn.Close()
	if d := receive(t, w.e.ended); d.Status != 101 && d.Status != 200 || d.RequestBytes != int64(3*len(asked)) {
		t.Errorf("%+v", d)
	}
}

// TestInsideClientLeaves: the upstream hears of it at once.
func TestInsideClientLeaves(t *testing.T) {
	asked, gone := make(chan struct{}), make(chan struct{})
	w := newIntercepting(t, interceptOptions{}, func(c net.Conn, r *bufio.Reader) {
		readHead(r)
		close(asked)
		io.Copy(io.Discard, r)
		close(gone)
	})
	c := w.dial(t, nil)
	c.send(inGet + "\r\n")
	receive(t, asked)
	c.Close()
	receive(t, gone)
	if d := receive(t, w.e.ended); d.Abort != verdict.ConnectorFailure || d.Detail != "the client went away" {
		t.Errorf("%+v", d)
	}
}

// TestInsideKeptConnections: a kept connection is used again, unless it holds what
// nobody asked for; that would be taken for the next answer.
func TestInsideKeptConnections(t *testing.T) {
	t.Run("used again", func(t *testing.T) {
		w := newIntercepting(t, interceptOptions{}, answers(ok, nil))
		for range 3 {
			c := w.dial(t, nil)
			c.send(inGet + "\r\n" + inGet + "\r\n")
			c.expect(ok + ok)
			c.Close()
		}
		if n := w.conns(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
	for name, more := range map[string][]string{
		"in the same record":  {ok + ok},
		"in the next record":  {ok, ok},
		"a byte":              {ok, "x"},
		"a record far behind": {ok, strings.Repeat("x", 20000)},
	} {
		t.Run(name, func(t *testing.T) {
			w := newIntercepting(t, interceptOptions{}, func(c net.Conn, r *bufio.Reader) {
				for {
					if _, err := readHead(r); err != nil {
						return
					}
					for _, m := range more {
						if _, err := io.WriteString(c, m); err != nil {
							return
						}
					}
				}
			})
			for range 2 {
				c := w.dial(t, nil)
				c.send(inGet + "\r\n")
				c.expect(ok)
				c.Close()
			}
			if n := w.conns(); n != 2 {
				t.Errorf("%d connections: the first was used again", n)
			}
		})
	}
}

// TestPreflightConnectionIsKept: the tickets that a server sends after the
// handshake do not make its connection look used.
func TestPreflightConnectionIsKept(t *testing.T) {
	h := &fakeHTTP2{}
	w := newIntercepting(t, interceptOptions{protos: []string{"http/1.1"}, cfg: Config{HTTP2: h}}, answers(ok, nil))
	c := w.dial(t, func(cfg *tls.Config) { cfg.NextProtos = []string{"h2", "http/1.1"} })
	if p := c.ConnectionState().NegotiatedProtocol; p != "http/1.1" {
		t.Errorf("%q", p)
	}
	if n := w.conns(); n != 1 {
		t.Errorf("%d connections", n)
	}
	c.send(inGet + "\r\n")
	c.expect(ok)
	if n := w.conns(); n != 1 {
		t.Errorf("%d connections", n)
	}
}
