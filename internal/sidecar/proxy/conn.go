package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"firma/internal/intent"
	"firma/internal/sidecar/http1"
	"firma/internal/verdict"
)

// conn is one connection of the agent, served by one goroutine. Requests on it
// are judged and carried out one after the other.
type conn struct {
	srv  *Server
	ctx  context.Context
	nc   net.Conn
	in   *http1.Reader
	out  sink
	req  http1.Request
	call intent.Call
	x    exchange

	idle     atomic.Bool // waiting for the first byte of a request
	deadline time.Time   // of reads, as last set; zero for none

	mu      sync.Mutex // guards the rest
	active  bool       // a dispatch is under way
	judged  verdict.Decision
	peer    net.Conn // its upstream
	ended   bool
	revoked verdict.Reason
}

func newConn(ctx context.Context, s *Server, nc net.Conn) *conn {
	c := &conn{srv: s, ctx: ctx, nc: nc, in: http1.NewReader(nc)}
	c.out.to = nc
	c.x.c = c
	return c
}

func (c *conn) serve() {
	defer c.releaseBuffers()
	for c.next() {
		again := false
		if string(c.req.Method) == "CONNECT" {
			var connected bool
			if connected, again = c.connect(); connected {
				c.x.tunnel()
			}
		} else {
			again = c.request()
		}
		if !again {
			return
		}
		c.in.Narrow()
		c.out.release()
		if cap(c.x.msg) > maxInline {
			c.x.msg = nil
		}
	}
}

// next reads the next request head; false ends the connection.
func (c *conn) next() bool {
	c.call = intent.Call{}
	for timed := false; ; {
		done, err := c.in.Request(&c.req)
		if err != nil {
			c.malformed("http", why(err), "")
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
	return !c.srv.draining.Load() && c.in.Fill() == nil
}

// more reads more of a head that has begun. Only an agent that keeps us waiting
// gets an answer; one that left gets none.
func (c *conn) more() bool {
	err := c.in.Fill()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.malformed("http", "the request head did not arrive in time", "")
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
	c.nc.SetReadDeadline(t)
}

// wakeIdle ends the wait for a request that has not begun.
func (c *conn) wakeIdle() {
	if c.idle.Load() {
		c.nc.SetReadDeadline(past)
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
	return err.Error()
}

// begin marks a dispatch to peer as under way; false if it must not be, since
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
	c.nc.Close()
	if c.peer != nil {
		c.peer.Close()
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

const (
	lingerBytes = 256 << 10
	lingerTime  = 500 * time.Millisecond
)

// linger lets a last response arrive: closing with unread input would reset the
// connection and could destroy the response on its way (RFC 9112, section 9.6).
func (c *conn) linger() {
	if c.out.flush() != nil || !closeWrite(c.nc) {
		return
	}
	c.in.Release()
	c.nc.SetReadDeadline(time.Now().Add(lingerTime))
	io.CopyN(io.Discard, c.nc, lingerBytes)
}

func closeWrite(nc net.Conn) bool {
	h, ok := nc.(interface{ CloseWrite() error })
	return ok && h.CloseWrite() == nil
}
