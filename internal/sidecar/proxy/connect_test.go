package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firma/internal/verdict"
)

const (
	connectReq = "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n"
)

// plain hides what makes a connection a socket, as TLS would, but for the
// half-close.
type plain struct {
	c interface {
		net.Conn
		CloseWrite() error
	}
}

func (p plain) Read(b []byte) (int, error)         { return p.c.Read(b) }
func (p plain) Write(b []byte) (int, error)        { return p.c.Write(b) }
func (p plain) Close() error                       { return p.c.Close() }
func (p plain) CloseWrite() error                  { return p.c.CloseWrite() }
func (p plain) LocalAddr() net.Addr                { return p.c.LocalAddr() }
func (p plain) RemoteAddr() net.Addr               { return p.c.RemoteAddr() }
func (p plain) SetDeadline(t time.Time) error      { return p.c.SetDeadline(t) }
func (p plain) SetReadDeadline(t time.Time) error  { return p.c.SetReadDeadline(t) }
func (p plain) SetWriteDeadline(t time.Time) error { return p.c.SetWriteDeadline(t) }

func plainDialTo(addr string) Dialer {
	return dialFunc(func(ctx context.Context, h string, p uint16) (net.Conn, error) {
		c, err := dialTo(addr).Dial(ctx, h, p)
		if err != nil {
			return nil, err
		}
		return plain{c.(interface {
			net.Conn
			CloseWrite() error
		})}, nil
	})
}

// bothWays runs a test with spliced and with copied tunnels.
func bothWays(t *testing.T, f func(t *testing.T, dialer func(addr string) Dialer)) {
	t.Run("spliced", func(t *testing.T) { f(t, func(a string) Dialer { return dialTo(a) }) })
	t.Run("copied", func(t *testing.T) { f(t, plainDialTo) })
}

func TestTunnel(t *testing.T) {
	bothWays(t, func(t *testing.T, dialer func(string) Dialer) {
		addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) { io.Copy(c, r) })
		e := &enforcer{ended: make(chan Dispatch, 1)}
		_, proxy := start(t, Config{Dialer: dialer(addr), Enforcer: e})
		c := connectTo(t, proxy)
		c.send(connectReq + "early")
		c.expect(established + "early")
		for i := range 100 {
			s := strings.Repeat(fmt.Sprint(i), i*50+1)
			c.send(s)
			c.expect(s)
		}
		c.CloseWrite()
		c.expectEOF()
		d := receive(t, e.ended)
		if d.RequestBytes != d.ResponseBytes || d.RequestBytes < 5 || d.Status != 200 || d.Abort != verdict.None || d.Latency <= 0 {
			t.Errorf("%+v", d)
		}
		if diff := cmp.Diff([]string{"ALLOW CONNECT api.example.com"}, e.take()); diff != "" {
			t.Error(diff)
		}
	})
}

// TestHalfClose: each side may end its direction first and still gets the rest.
func TestHalfClose(t *testing.T) {
	bothWays(t, func(t *testing.T, dialer func(string) Dialer) {
		t.Run("client first", func(t *testing.T) {
			addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
				b, _ := io.ReadAll(r)
				fmt.Fprintf(c, "%d bytes", len(b))
			})
			_, proxy := start(t, Config{Dialer: dialer(addr)})
			c := connectTo(t, proxy)
			c.send(connectReq + "hello")
			c.CloseWrite()
			c.expect(established + "5 bytes")
			c.expectEOF()
		})
		t.Run("upstream first", func(t *testing.T) {
			got := make(chan string, 1)
			addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
				io.WriteString(c, "banner")
				c.CloseWrite()
				b, _ := io.ReadAll(r)
				got <- string(b)
			})
			_, proxy := start(t, Config{Dialer: dialer(addr)})
			c := connectTo(t, proxy)
			c.send(connectReq)
			c.expect(established + "banner")
			c.expectEOF()
			c.send("after the end")
			c.CloseWrite()
			if s := receive(t, got); s != "after the end" {
				t.Errorf("%q", s)
			}
		})
	})
}

// TestTunnelEnds: a reset or departure on one side reaches the other.
func TestTunnelEnds(t *testing.T) {
	bothWays(t, func(t *testing.T, dialer func(string) Dialer) {
		t.Run("upstream resets", func(t *testing.T) {
			addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
				r.ReadByte()
				c.SetLinger(0)
			})
			e := &enforcer{ended: make(chan Dispatch, 1)}
			_, proxy := start(t, Config{Dialer: dialer(addr), Enforcer: e})
			c := connectTo(t, proxy)
			c.send(connectReq)
			c.expect(established)
			c.send("x")
			io.Copy(io.Discard, c.r) // ends
			if d := receive(t, e.ended); d.Abort != verdict.ConnectorFailure {
				t.Errorf("%+v", d)
			}
		})
		t.Run("client resets", func(t *testing.T) {
			gone := make(chan struct{})
			addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
				io.Copy(io.Discard, r)
				close(gone)
			})
			_, proxy := start(t, Config{Dialer: dialer(addr)})
			c := connectTo(t, proxy)
			c.send(connectReq)
			c.expect(established)
			c.SetLinger(0)
			c.Close()
			receive(t, gone)
		})
		for name, cfg := range map[string]Config{
			"idle": {StreamIdle: 20 * time.Millisecond}, "longest time": {SessionMax: 20 * time.Millisecond},
		} {
			t.Run(name, func(t *testing.T) {
				addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) { io.Copy(io.Discard, r) })
				e := &enforcer{ended: make(chan Dispatch, 1)}
				cfg.Dialer, cfg.Enforcer = dialer(addr), e
				_, proxy := start(t, cfg)
				c := connectTo(t, proxy)
				c.send(connectReq)
				c.expect(established)
				io.Copy(io.Discard, c.r) // ends
				if d := receive(t, e.ended); d.Abort != verdict.ConnectorTimeout || !strings.Contains(d.Detail, name[:4]) {
					t.Errorf("%+v", d)
				}
			})
		}
	})
}

// TestTunnelBulk: many megabytes both ways at once, undamaged.
func TestTunnelBulk(t *testing.T) {
	bothWays(t, func(t *testing.T, dialer func(string) Dialer) {
		const size = 48 << 20
		received := make(chan *checker, 1)
		addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
			var wg sync.WaitGroup
			var up checker
			wg.Go(func() { io.Copy(&up, r) })
			io.CopyN(struct{ io.Writer }{c}, &pattern{}, size)
			wg.Wait()
			received <- &up
		})
		e := &enforcer{ended: make(chan Dispatch, 1)}
		_, proxy := start(t, Config{Dialer: dialer(addr), Enforcer: e})
		c := connectTo(t, proxy)
		c.send(connectReq)
		c.expect(established)
		var wg sync.WaitGroup
		wg.Go(func() {
			io.CopyN(struct{ io.Writer }{c}, &pattern{}, size)
			c.CloseWrite()
		})
		var down checker
		io.CopyN(&down, c.r, size)
		wg.Wait()
		up := receive(t, received)
		if d := receive(t, e.ended); d.RequestBytes != size || d.ResponseBytes != size {
			t.Errorf("%+v", d)
		}
		if up.n != size || up.bad || down.n != size || down.bad {
			t.Errorf("up %d (damaged: %v), down %d (damaged: %v)", up.n, up.bad, down.n, down.bad)
		}
	})
}

// TestManyBulkTunnels: more than there are pipes.
func TestManyBulkTunnels(t *testing.T) {
	const tunnels, size = 100, 1 << 20
	addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
		io.CopyN(struct{ io.Writer }{c}, &pattern{}, size)
	})
	_, proxy := start(t, Config{Dialer: dialTo(addr)})
	var wg sync.WaitGroup
	for range tunnels {
		c := connectTo(t, proxy)
		wg.Go(func() {
			c.send(connectReq)
			c.expect(established)
			var down checker
			io.Copy(&down, c.r)
			if down.n != size || down.bad {
				t.Errorf("%d bytes (damaged: %v)", down.n, down.bad)
			}
		})
	}
	wg.Wait()
}

func TestConnectVariants(t *testing.T) {
	addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) { io.Copy(c, r) })
	for name, wire := range map[string]string{
		"1.0 without Host":  "CONNECT api.example.com:443 HTTP/1.0\r\n\r\n",
		"Host without port": "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
		"odd spelling":      "CONNECT API.example.com.:443 HTTP/1.1\r\nHost: api.EXAMPLE.com\r\n\r\n",
		"length 0":          "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 0\r\n\r\n",
		"proxy fields":      "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com\r\nProxy-Connection: keep-alive\r\nUser-Agent: x\r\n\r\n",
	} {
		_, proxy := start(t, Config{Dialer: dialTo(addr)})
		c := connectTo(t, proxy)
		c.send(wire)
		c.expect(established)
		c.send(name)
		c.expect(name)
	}
}

func TestConnectDials(t *testing.T) {
	var got string
	_, proxy := start(t, Config{Dialer: dialFunc(func(_ context.Context, host string, port uint16) (net.Conn, error) {
		got = fmt.Sprint(host, " ", port)
		return nil, errTest
	})})
	c := connectTo(t, proxy)
	c.send("CONNECT [2606:4700:0:0::1]:8443 HTTP/1.1\r\nHost: [2606:4700::1]:8443\r\n\r\n")
	if c.response(); got != "2606:4700::1 8443" {
		t.Error(got)
	}
}

func TestWebSocket(t *testing.T) {
	addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
		readHead(r)
		io.WriteString(c, switched+"\x81\x02hi")
		masked := make([]byte, 7)
		for {
			if _, err := io.ReadFull(r, masked); err != nil {
				return
			}
			io.WriteString(c, "\x82\x01a")
		}
	})
	e := &enforcer{ended: make(chan Dispatch, 1)}
	_, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: e, IdleTimeout: 50 * time.Millisecond})
	c := connectTo(t, proxy)
	c.send(upgrade)
	c.expect(switched + "\x81\x02hi")
	for range 3 {
		c.send("\x82\x81\x00\x00\x00\x00a")
		c.expect("\x82\x01a")
	}
	c.CloseWrite()
	c.expectEOF()
	if d := receive(t, e.ended); d.Status != 101 || d.RequestBytes != 21 || d.ResponseBytes != 13 || d.Abort != verdict.None {
		t.Errorf("%+v", d)
	}
}

func TestWebSocketRefusedByUpstream(t *testing.T) {
	addr, _, _ := answering(t, "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno")
	_, proxy := start(t, Config{Dialer: dialTo(addr)})
	c := connectTo(t, proxy)
	for range 2 {
		c.send(get + "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n")
		c.expect("HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno")
	}
}
