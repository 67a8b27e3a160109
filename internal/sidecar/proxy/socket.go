package proxy

import (
	"time"

	"firma/internal/sidecar/http1"
	"firma/internal/sidecar/websocket"
	"firma/internal/verdict"
)

// switched turns an exchange into a WebSocket tunnel after the upstream's 101;
// false ends the connection, in every case.
func (x *exchange) switched() bool {
	c := x.c
	if !x.socket || !http1.EqualFold(x.resp.Upgrade, "websocket") {
		return x.failed(&http1.Error{Why: "it switched protocols unasked"})
	}
	if !x.accepted() {
		return x.failed(&http1.Error{Why: "its answer to the upgrade is not WebSocket's"})
	}
	deflate, known := agreed(&x.resp.Head)
	if !known {
		return x.failed(&http1.Error{Why: "it uses an unknown WebSocket extension"})
	}
	held := c.srv.cfg.Memory.Claim()
	if !held.Hold(2 * copySize) {
		return x.failed(http1.ErrNoRoom)
	}
	defer held.Release()
	if !x.settleClient() {
		return x.failed(&clientError{errClientLeft})
	}
	c.setReadDeadline(time.Time{})
	b := appendStatus(c.out.bytes(), 101, "Switching Protocols")
	b = append(x.appendFields(b), "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"...)
	c.out.put(b)
	err := c.out.flush()
	client, upstream := newFramed(c.nc, websocket.Server, deflate), newFramed(x.u.nc, websocket.Client, deflate)
	if err == nil {
		_, err = client.Write(x.u.in.Buffered())
	}
	if err == nil {
		_, err = upstream.Write(c.in.Buffered())
	}
	t := tunnel{srv: c.srv, client: client, upstream: upstream}
	t.sent, t.received = int64(len(c.in.Buffered())), int64(len(x.u.in.Buffered()))
	x.u.in.Release()
	c.releaseBuffers()
	if err == nil {
		err = t.run()
	}
	if client.bad != nil {
		err = client.bad
	} else if upstream.bad != nil {
		err = upstream.bad
	}
	x.closeTunnel(&t, err)
	return false
}

// accepted reports whether the upstream answered the very request for a WebSocket: a
// 101 that it was talked into, or that was meant for another, does not.
func (x *exchange) accepted() bool {
	n := 0
	for _, f := range x.resp.Fields {
		if http1.EqualFold(f.Name, "sec-websocket-accept") {
			if n++; string(f.Value) != x.accept {
				return false
			}
		}
	}
	return n == 1
}

// closeTunnel records the end of a tunnel.
func (x *exchange) closeTunnel(t *tunnel, err error) {
	revoked := x.c.end()
	x.u.close()
	if t.refused != "" && revoked == verdict.None {
		x.c.srv.cfg.Enforcer.Refuse(x.c.ctx, &x.c.call, x.d, verdict.MalformedRequest, t.refused)
		return
	}
	x.res.RequestBytes, x.res.ResponseBytes = t.sent, t.received
	x.res.Abort, x.res.Detail = t.explain(err, revoked)
	x.record()
}
