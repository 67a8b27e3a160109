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
	deflate, why := agrees(x.socket, &x.resp)
	if why != "" {
		return x.failed(&http1.Error{Why: why})
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
	t := tunnel{srv: c.srv}
	client, upstream := newFramed(&t, c.nc, websocket.Server, deflate), newFramed(&t, x.u.nc, websocket.Client, deflate)
	t.client, t.upstream = client, upstream
	if err == nil {
		_, err = client.Write(x.u.in.Buffered())
	}
	if err == nil {
		_, err = upstream.Write(c.in.Buffered())
	}
	t.sent, t.received = int64(len(c.in.Buffered())), int64(len(x.u.in.Buffered()))
	x.u.in.Release()
	c.releaseBuffers()
	if err == nil {
		err = t.run()
	}
	bad := client.bad
	if bad == nil {
		bad = upstream.bad
	}
	if bad == nil {
		if client.w.Closed() {
			err = nil // the upstream has said goodbye; how its connection ends does not matter
		}
		if late := afterClose(client, upstream); late != nil {
			err = late
		}
		x.closeTunnel(&t, err)
		return false
	}
	client.tell(bad)
	if bad.From == websocket.Server {
		upstream.tell(bad)
		upstream.linger()
	}
	x.closeTunnel(&t, bad)
	c.linger(false)
	return false
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
