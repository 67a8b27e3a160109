package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firma/internal/verdict"
)

func TestUpstreamConnectionsAreReused(t *testing.T) {
	addr, _, conns := answering(t, ok)
	_, proxy := start(t, Config{Dialer: dialTo(addr)})
	for range 3 {
		c := connectTo(t, proxy)
		for range 3 {
			c.send(get + "\r\n")
			c.expect(ok)
		}
	}
	if n := conns(); n != 1 {
		t.Errorf("%d upstream connections for sequential requests", n)
	}
}

// TestNotReused: an upstream connection that may be out of step is not used again.
func TestNotReused(t *testing.T) {
	for name, response := range map[string]string{
		"says close":             "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.0":               "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"bytes after the end":    ok + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
		"body where none may be": "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil",
	} {
		t.Run(name, func(t *testing.T) {
			addr, _, conns := answering(t, response)
			_, proxy := start(t, Config{Dialer: dialTo(addr)})
			c := connectTo(t, proxy)
			for range 3 {
				c.send(get + "\r\n")
				if _, _, body := c.response(); strings.Contains(body, "evil") {
					t.Error("answered with stray bytes")
				}
			}
			if n := conns(); n != 3 {
				t.Errorf("%d upstream connections for 3 requests", n)
			}
		})
	}
}

// TestStrayBytesOnAnIdleConnection: what comes between two responses is answer to
// nothing.
func TestStrayBytesOnAnIdleConnection(t *testing.T) {
	stray, sent := make(chan struct{}), make(chan struct{})
	var n atomic.Int32
	addr, conns := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
		first := n.Add(1) == 1
		for {
			if _, err := readHead(r); err != nil {
				return
			}
			io.WriteString(c, ok)
			if first {
				<-stray
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
				close(sent)
			}
		}
	})
	_, proxy := start(t, Config{Dialer: dialTo(addr)})
	c := connectTo(t, proxy)
	c.send(get + "\r\n")
	c.expect(ok)
	close(stray)
	receive(t, sent)
	c.send(get + "\r\n")
	c.expect(ok)
	if conns() != 2 {
		t.Errorf("%d upstream connections", conns())
	}
}

// closing is an origin that answers the first request of its first connection and
// closes that connection when the second request comes.
func closing(t *testing.T) (addr string, seen *atomic.Int32) {
	seen = new(atomic.Int32)
	var n atomic.Int32
	addr, _ = listen(t, func(c *net.TCPConn, r *bufio.Reader) {
		first := n.Add(1) == 1
		for i := 0; ; i++ {
			head, err := readHead(r)
			if err != nil {
				return
			}
			if head == "\r\n" { // the body of the request before
				continue
			}
			seen.Add(1)
			if first && i == 1 {
				return
			}
			io.WriteString(c, ok)
		}
	})
	return addr, seen
}

func TestStaleConnection(t *testing.T) {
	for _, tt := range []struct {
		name, second string
		retried      bool
	}{
		{"GET", get + "\r\n", true},
		{"PUT with a whole body", strings.Replace(get, "GET", "PUT", 1) + "Content-Length: 2\r\n\r\n\r\n", true},
		{"POST", strings.Replace(get, "GET", "POST", 1) + "Content-Length: 2\r\n\r\n\r\n", false},
		{"PATCH", strings.Replace(get, "GET", "PATCH", 1) + "\r\n", false},
		{"GET that asks for POST", get + "X-HTTP-Method-Override: POST\r\n\r\n", false},
		{"GET that asks for POST in its query", strings.Replace(get, "/x ", "/x?%5FMethod=POST ", 1) + "\r\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, seen := closing(t)
			e := &enforcer{ended: make(chan Dispatch, 2)}
			_, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: e})
			c := connectTo(t, proxy)
			c.send(get + "\r\n")
			c.expect(ok)
			receive(t, e.ended)
			c.send(tt.second)
			status, _, _ := c.response()
			d := receive(t, e.ended)
			if tt.retried && (status != "HTTP/1.1 200 OK" || d.Abort != verdict.None || seen.Load() != 3) {
				t.Errorf("%s %+v, seen %d", status, d, seen.Load())
			}
			if !tt.retried && (status != "HTTP/1.1 504 Gateway Timeout" || d.Abort != verdict.ConnectorFailure || seen.Load() != 2) {
				t.Errorf("%s %+v, seen %d", status, d, seen.Load())
			}
			if n := len(e.take()); n != 2 {
				t.Errorf("judged %d times", n)
			}
		})
	}
}

// TestClosedWhileIdle: a connection the origin closed between requests is noticed
// before anything is sent, also for a method that must not be sent twice.
func TestClosedWhileIdle(t *testing.T) {
	closed := make(chan struct{}, 1)
	addr, conns := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
		if _, err := readHead(r); err == nil {
			io.ReadFull(r, make([]byte, 2))
			io.WriteString(c, ok)
			c.Close()
			closed <- struct{}{}
		}
	})
	_, proxy := start(t, Config{Dialer: dialTo(addr)})
	c := connectTo(t, proxy)
	for range 3 {
		c.send(strings.Replace(get, "GET", "POST", 1) + "Content-Length: 2\r\n\r\nhi")
		c.expect(ok)
		receive(t, closed)
	}
	if conns() != 3 {
		t.Errorf("%d connections", conns())
	}
}

func TestPoolKeepsDestinationsApart(t *testing.T) {
	var dialled []string
	_, proxy := start(t, Config{Dialer: dialFunc(func(ctx context.Context, host string, port uint16) (net.Conn, error) {
		dialled = append(dialled, fmt.Sprint(host, ":", port))
		addr, _, _ := answering(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s:%d", len(host)+1+len(fmt.Sprint(port)), host, port))
		return dialTo(addr).Dial(ctx, host, port)
	})})
	c := connectTo(t, proxy)
	for range 2 {
		for _, hp := range []string{"a.test:80", "b.test:80", "a.test:8080"} {
			c.send("GET http://" + hp + "/ HTTP/1.1\r\nHost: " + hp + "\r\n\r\n")
			if _, _, body := c.response(); body != hp {
				t.Errorf("asked %s, answered by %s", hp, body)
			}
		}
	}
	if len(dialled) != 3 {
		t.Error(dialled)
	}
}

func pipeUpstream(key poolKey) (*upstream, net.Conn) {
	a, b := net.Pipe()
	return newUpstream(key, a, false, nil), b
}

func TestPoolIsBounded(t *testing.T) {
	p := newPool(2, time.Hour)
	defer p.close()
	var far []net.Conn
	for i := range 3 {
		u, b := pipeUpstream(poolKey{host: "h", port: uint16(i)})
		far = append(far, b)
		p.put(u)
	}
	if p.n != 2 || !isClosed(far[2]) {
		t.Errorf("%d kept", p.n)
	}
	if p.get(poolKey{host: "h", port: 0}) == nil || p.get(poolKey{host: "h", port: 0}) != nil || p.get(poolKey{host: "x", port: 0}) != nil {
		t.Error("wrong connection")
	}
	p.close()
	if !isClosed(far[1]) {
		t.Error("close left a connection open")
	}
	u, b := pipeUpstream(poolKey{host: "h", port: 9})
	if p.put(u); !isClosed(b) {
		t.Error("a closed pool keeps a connection")
	}
}

// isClosed waits until the other end of a pipe is closed.
func isClosed(c net.Conn) bool {
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	_, err := c.Read(make([]byte, 1))
	return err == io.EOF
}

func TestPoolExpires(t *testing.T) {
	p := newPool(10, time.Millisecond)
	defer p.close()
	u, b := pipeUpstream(poolKey{host: "h", port: 1})
	p.put(u)
	if !isClosed(b) {
		t.Error("still open")
	}
	if p.get(poolKey{host: "h", port: 1}) != nil {
		t.Error("an expired connection was given out")
	}
}
