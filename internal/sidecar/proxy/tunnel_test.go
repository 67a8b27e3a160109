package proxy

import (
	"bufio"
	"io"
	"net"
	"testing"

	"firma/internal/verdict"
)

// TestTunnelEndIsNoAbort: closing a connection with something unread resets it, so
// most tunnels end with a reset by somebody. None of these is a failure.
func TestTunnelEndIsNoAbort(t *testing.T) {
	ends := map[string]struct {
		origin func(*net.TCPConn, *bufio.Reader)
		client func(*rawClient)
	}{
		"the client resets": {
			origin: func(_ *net.TCPConn, r *bufio.Reader) { io.Copy(io.Discard, r) },
			client: func(c *rawClient) { c.SetLinger(0); c.Close() },
		},
		"the client ends, then resets what still comes": {
			origin: func(c *net.TCPConn, r *bufio.Reader) {
				io.Copy(io.Discard, r)
				c.Write(make([]byte, 1<<20))
			},
			client: func(c *rawClient) { c.CloseWrite(); c.r.ReadByte(); c.SetLinger(0); c.Close() },
		},
		"the origin ends, then resets what still comes": {
			origin: func(c *net.TCPConn, _ *bufio.Reader) { c.Close() },
			client: func(c *rawClient) {
				c.expectEOF()
				for _, err := c.Write(make([]byte, 1<<16)); err == nil; _, err = c.Write(make([]byte, 1<<16)) {
				}
			},
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, dialer func(string) Dialer) {
				addr, _ := listen(t, end.origin)
				e := &enforcer{ended: make(chan Dispatch, 1)}
				_, proxy := start(t, Config{Dialer: dialer(addr), Enforcer: e})
				c := connectTo(t, proxy)
				c.send(connectReq)
				c.expect(established)
				end.client(c)
				if d := receive(t, e.ended); d.Abort != verdict.None {
					t.Errorf("recorded as an abort: %+v", d)
				}
			})
		})
	}
}

// TestSilentClient: a client that says nothing gets more than sockets hold.
func TestSilentClient(t *testing.T) {
	bothWays(t, func(t *testing.T, dialer func(string) Dialer) {
		const size = 32 << 20
		addr, _ := listen(t, func(c *net.TCPConn, _ *bufio.Reader) {
			io.CopyN(struct{ io.Writer }{c}, &pattern{}, size)
		})
		_, proxy := start(t, Config{Dialer: dialer(addr)})
		c := connectTo(t, proxy)
		c.send(connectReq)
		c.expect(established)
		var down checker
		if n, err := io.Copy(&down, c.r); n != size || down.bad {
			t.Errorf("%d bytes (damaged: %v): %v", n, down.bad, err)
		}
	})
}
