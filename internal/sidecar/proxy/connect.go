package proxy

import (
	"errors"
	"time"

	"firma/internal/intent"
	"firma/internal/sidecar/http1"
	"firma/internal/sidecar/websocket"
	"firma/internal/verdict"
)

var errClientLeft = errors.New("proxy: client left")

// connect judges a CONNECT and connects, after which the tunnel is to be carried;
// otherwise again says whether the connection goes on. The tunnel is not carried
// from here, so that the frame of this function does not stay for hours.
func (c *conn) connect() (connected, again bool) {
	if err := c.readConnect(); err != nil {
		c.malformed("connect", why(err), "")
		return false, false
	}
	// Bytes right behind the head are meant for the tunnel: without one, there is
	// no telling where the next request starts.
	again = len(c.in.Buffered()) == 0
	d := c.srv.cfg.Enforcer.Enforce(c.ctx, &c.call)
	if !d.Outcome.Dispatches() {
		return false, c.deny(d, again)
	}
	x := &c.x
	x.reset(d)
	x.inline = again
	if err := x.connect(true); err != nil {
		return false, x.notConnected(err)
	}
	x.res.Status, x.res.Latency = 200, time.Since(x.start)
	return true, false
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

// tunnel answers 200 and splices. What the client sent behind the head goes first.
func (x *exchange) tunnel() {
	c := x.c
	c.setReadDeadline(time.Time{})
	c.out.put(append(c.out.bytes(), "HTTP/1.1 200 Connection Established\r\n\r\n"...))
	err := c.out.flush()
	early := c.in.Buffered()
	if err == nil && len(early) > 0 {
		_, err = x.u.nc.Write(early)
	}
	t := tunnel{srv: c.srv, client: c.nc, upstream: x.u.nc, sent: int64(len(early))}
	c.releaseBuffers()
	if err == nil {
		err = t.run()
	}
	x.closeTunnel(&t, err)
}

// releaseBuffers gives back what a tunnel, which may be idle for hours, has no
// use for.
func (c *conn) releaseBuffers() {
	c.in.Release()
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
