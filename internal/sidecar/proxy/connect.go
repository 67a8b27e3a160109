package proxy

import (
	"errors"
	"time"

	"firma/internal/intent"
	"firma/internal/sidecar/carry"
	"firma/internal/sidecar/http1"
	"firma/internal/sidecar/refusal"
	"firma/internal/sidecar/websocket"
	"firma/internal/verdict"
)

var errClientLeft = errors.New("proxy: client left")

// connect judges a CONNECT and opens the stream that it asks for.
func (c *conn) connect() step {
	if err := c.readConnect(); err != nil {
		c.malformed("connect", why(err), "")
		return over
	}
	// Bytes right behind the head are meant for the stream: without one, there is
	// no telling where the next request starts.
	return c.open(len(c.in.Buffered()) == 0)
}

func (c *conn) readConnect() (err error) {
	if c.call, err = intent.FromAuthority(string(c.req.Target)); err != nil {
		return err
	}
	if c.req.Framing == http1.Chunked || c.req.Length > 0 || c.req.Continue {
		return &intent.Error{Why: "a CONNECT request has no body"}
	}
	if c.req.Host == nil {
		return nil
	}
	return sameHost(&c.call, c.req.Host)
}

// tunnel accepts the stream and carries it. What the client sent already goes
// first. true: the connection is served without this goroutine from now on.
func (x *exchange) tunnel() (lent bool) {
	c := x.c
	x.res.Status, x.res.Latency = 200, time.Since(x.start)
	c.setReadDeadline(time.Time{})
	err := c.accept()
	t := &tunnel{srv: c.srv, client: c.nc, upstream: x.u.nc, opening: newOpening(&c.call, x.d.Accepts, c.in, c.unread(c.call.Host))}
	c.releaseAround()
	if err == nil {
		if t.lend(c.keep, func(err error) { defer c.srv.leave(c); x.closeTunnel(t, err) }) {
			return true
		}
		if held := c.srv.cfg.Memory.Claim(); held.Hold(2 * copySize) {
			err = t.run()
			held.Release()
		} else {
			t.refused = refusal.NoMemory
		}
	}
	x.closeTunnel(t, err)
	return false
}

// releaseBuffers gives back what a tunnel, which may be idle for hours, has no
// use for.
func (c *conn) releaseBuffers() {
	c.in.Release()
	c.push.reset()
	c.releaseAround()
}

// releaseAround is releaseBuffers without what is not read yet.
func (c *conn) releaseAround() {
	if len(c.in.Buffered()) == 0 {
		c.in.Release()
	}
	c.out.release()
	c.req.Fields = nil
	c.x.resp, c.x.body, c.x.reply, c.x.msg = http1.Response{}, http1.Body{}, http1.Body{}, nil
}

// explain names the end of a tunnel: both sides closing it is no abort.
func (t *tunnel) explain(err error, revoked verdict.Reason) (verdict.Reason, string) {
	switch {
	case revoked != verdict.None:
		return revoked, "the permission ended while the tunnel was open"
	case t.expired.Load() == expiredIdle:
		return verdict.ConnectorTimeout, "the tunnel was idle for too long"
	case t.expired.Load() == expiredSession:
		return verdict.ConnectorTimeout, "the tunnel reached its longest time"
	case errors.Is(err, carry.ErrNoRoom):
		return verdict.ConnectorFailure, "the tunnel was cut: " + refusal.NoMemory
	case err != nil:
		return verdict.ConnectorFailure, "the tunnel was cut: " + brief(err)
	}
	return verdict.None, ""
}

func brief(err error) string {
	var bad *websocket.Error
	if errors.As(err, &bad) {
		return bad.Error()
	}
	if isGone(err) {
		return "connection reset or closed"
	}
	return "input or output error"
}
