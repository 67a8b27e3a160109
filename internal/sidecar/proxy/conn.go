package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"firma/internal/intent"
	"firma/internal/sidecar/carry"
	"firma/internal/sidecar/hello"
	"firma/internal/sidecar/http1"
	"firma/internal/sidecar/proxy/socks"
	"firma/internal/verdict"
)

// conn is one connection of the agent, served by one goroutine. Requests on it
// are judged and carried out one after the other.
type conn struct {
	srv  *Server
	ctx  context.Context
	raw  net.Conn // as accepted
	nc   net.Conn // what is read and written: raw, or the TLS on it
	in   *http1.Reader
	out  sink
	req  http1.Request
	call intent.Call
	push pushed
	x    exchange

	way    way          // by which a stream was asked for, and a refusal is told
	code   byte         // of a SOCKS refusal, 0 for the usual one
	fixed  *destination // of all requests: the stream is looked into
	origin func(net.Conn) (string, uint16, error)
	served *sync.WaitGroup // of the listener's connections
	room   int             // bytes that the kernel may hold for it, see roomFor

	idle     atomic.Bool // waiting for the first byte of a request, or for the client's end
	deadline time.Time   // of reads, as last set; zero for none

	mu      sync.Mutex // guards the rest
	active  bool       // a dispatch is under way
	judged  verdict.Decision
	peer    net.Conn    // its upstream
	pair    *carry.Pair // carries raw and peer, nil: nobody but this goroutine
	ended   bool
	revoked verdict.Reason
}

func newConn(ctx context.Context, s *Server, nc net.Conn, served *sync.WaitGroup) *conn {
	c := &conn{srv: s, ctx: ctx, nc: nc, raw: nc, in: http1.NewReader(nc).Within(s.cfg.Memory), served: served}
	c.out.to = nc
	c.x.c = c
	return c
}

// step is what comes next on a connection.
type step uint8

const (
	over      step = iota // its end
	again                 // a request
	tunnelled             // a tunnel: x is connected
	byFrames              // HTTP/2
)

// serve runs the connection. Tunnels and HTTP/2 are served from here, so that no
// frame of what led there stays for hours. true: it goes on without this goroutine.
func (c *conn) serve() (lent bool) {
	for s := c.enter(); ; {
		switch s {
		case over:
			return false
		case tunnelled:
			return c.x.tunnel()
		case byFrames:
			c.srv.cfg.HTTP2.ServeConn(c.ctx, c.nc, c.fixed.host, c.fixed.port)
			return false
		}
		if !c.next() {
			return false
		}
		if s = c.one(); s != again {
			continue
		}
		c.in.Narrow()
		c.out.release()
		if cap(c.x.msg) > maxInline {
			c.x.msg = nil
		}
	}
}

// enter looks at what the client begins with.
func (c *conn) enter() step {
	if c.origin != nil {
		return c.captured()
	}
	if !c.await() {
		return over
	}
	if v := c.in.Buffered()[0]; v == socks.Version5 || v == socks.Version4 {
		return c.socks()
	}
	return again
}

// one judges the request that was read and carries the verdict out.
func (c *conn) one() step {
	if c.fixed == nil && string(c.req.Method) == "CONNECT" {
		return c.connect()
	}
	return goOn(c.request())
}

func goOn(can bool) step {
	if can {
		return again
	}
	return over
}

// next reads the next request head; false ends the connection.
func (c *conn) next() bool {
	c.call, c.req.Method = intent.Call{}, nil
	c.push.reset()
	for timed := false; ; {
		done, err := c.in.Request(&c.req)
		if err != nil {
			c.malformed(c.transport(), why(err), "")
			return false
		}
		if done {
			return true
		}
		if len(c.in.Buffered()) == 0 {
			if !c.await() {
				return false
			}
			continue
		}
		if !timed { // the clock runs from the first byte, not from the last
			c.setReadDeadline(time.Now().Add(c.srv.cfg.HeadTimeout))
			timed = true
		}
		if !c.more() {
			return false
		}
	}
}

// await waits for the first byte of a request.
func (c *conn) await() bool {
	c.setIdleDeadline()
	c.idle.Store(true)
	defer c.idle.Store(false)
	return !c.srv.draining.Load() && c.fill() == nil
}

// fill reads from the client where a failure ends the connection without a word.
func (c *conn) fill() error {
	err := c.in.Fill()
	if err != nil && scarce(err) {
		c.srv.sayScarce(err)
	}
	return err
}

// more reads more of a head that has begun. A connection that fails gets no answer.
func (c *conn) more() bool {
	err := c.fill()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.malformed(c.transport(), "the request head did not arrive in time", "")
	case err == io.EOF:
		c.malformed(c.transport(), "the request ends within its head", "")
	case errors.Is(err, http1.ErrNoRoom):
		c.noRoom(nil, verdict.Decision{Resource: "(unread " + c.transport() + " request)"})
	}
	return err == nil
}

// setIdleDeadline moves the deadline only when it is out by an eighth: a busy
// connection should not pay for a timer on each request.
func (c *conn) setIdleDeadline() {
	at := time.Now().Add(c.srv.cfg.IdleTimeout)
	if d := at.Sub(c.deadline); d > c.srv.cfg.IdleTimeout/8 || d < 0 {
		c.setReadDeadline(at)
	}
}

func (c *conn) setReadDeadline(t time.Time) {
	c.deadline = t
	c.raw.SetReadDeadline(t)
}

// wakeIdle ends the wait for a request that has not begun.
func (c *conn) wakeIdle() {
	if c.idle.Load() {
		c.raw.SetReadDeadline(past)
	}
}

// past is a deadline that has expired.
var past = time.Unix(1, 0)

func why(err error) string {
	var h *http1.Error
	if errors.As(err, &h) {
		return h.Why
	}
	var i *intent.Error
	if errors.As(err, &i) {
		return i.Why
	}
	var t *hello.Error
	if errors.As(err, &t) {
		return "the ClientHello is malformed: " + t.Why
	}
	return err.Error()
}

// begin marks a dispatch to peer, which is no TLS, as under way; false if it must not be, since
// the connection was cut.
func (c *conn) begin(d verdict.Decision, peer net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active, c.judged, c.peer = true, d, peer
	return !c.ended
}

// end marks the dispatch as over and returns why it was cut, if it was.
func (c *conn) end() verdict.Reason {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active, c.peer = false, nil
	return c.revoked
}

// cut closes both sides under whatever is going on.
func (c *conn) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutLocked()
}

func (c *conn) cutLocked() {
	c.ended = true
	if c.pair != nil {
		c.pair.Cut(nil)
	}
	c.raw.Close()
	if c.peer != nil {
		c.peer.Close()
	}
}

// keep notes who carries the connection from now on; it is cut if the connection
// has been.
func (c *conn) keep(p *carry.Pair) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pair = p; p != nil && c.ended {
		p.Cut(nil)
	}
}

func (c *conn) recheck(still func(*intent.Call, verdict.Decision) verdict.Reason) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.active || c.ended {
		return false
	}
	if c.revoked = still(&c.call, c.judged); c.revoked == verdict.None {
		return false
	}
	c.cutLocked()
	return true
}

func closeWrite(nc net.Conn) bool {
	h, ok := nc.(interface{ CloseWrite() error })
	return ok && h.CloseWrite() == nil
}

// under returns the connection that TLS runs on. To end a connection at once, it is
// that one which is closed: closing TLS says goodbye first, and may have to wait
// for whoever does not listen.
func under(nc net.Conn) net.Conn {
	if tc, ok := nc.(*tls.Conn); ok {
		return tc.NetConn()
	}
	return nc
}
