package proxy

import (
	"errors"
	"net"
	"time"

	"firma/internal/intent"
	"firma/internal/sidecar/http1"
	"firma/internal/sidecar/refusal"
	"firma/internal/sidecar/websocket"
	"firma/internal/verdict"
)

const (
	// maxInline is how much of a request body is sent along with the head.
	maxInline = 16 << 10
	// watchAfter is how long a response may take before somebody looks whether
	// the client is still there. Most responses are faster and cost no watcher.
	watchAfter = 50 * time.Millisecond
	// maxInterim bounds the 1xx responses before the final one.
	maxInterim = 32
)

// exchange is the dispatch of one allowed request: one request upstream, one
// response back. The connection's goroutine drives it; what the client does
// meanwhile is watched by another one (client.go) where needed.
type exchange struct {
	c       *conn
	d       verdict.Decision
	u       *upstream
	resp    http1.Response
	body    http1.Body         // of the request; the watcher's once it runs
	reply   http1.Body         // of the response
	msg     []byte             // the request, up to where it is not buffered yet
	inline  bool               // msg is the whole request
	socket  *websocket.Request // the request asks for a WebSocket
	expects bool               // the client waits for 100 Continue
	told    bool               // and got it
	begins  http1.Opening

	start   time.Time
	armed   bool  // the read deadline is a timeout, not watchAfter
	moved   int64 // progress when the timeout was last set
	watched *client
	res     Dispatch
}

// request judges one request and carries the verdict out; false ends the
// connection.
func (c *conn) request() bool {
	hint, err := c.read()
	if err != nil {
		c.malformed(c.transport(), why(err), hint)
		return false
	}
	if most := c.srv.cfg.MaxBody; most > 0 && c.req.Framing == http1.Length && c.req.Length > most {
		return c.tooLong(verdict.Decision{})
	}
	if err := c.readPush(); err != nil {
		if errors.Is(err, http1.ErrTooLong) {
			return c.tooLong(verdict.Decision{})
		}
		if errors.Is(err, http1.ErrNoRoom) {
			return c.noRoom(&c.call, verdict.Decision{})
		}
		if !malformedError(err) {
			return c.abandon(err)
		}
		c.malformed(c.transport(), why(err), "")
		return false
	}
	d := c.srv.cfg.Enforcer.Enforce(c.ctx, &c.call)
	if !d.Outcome.Dispatches() {
		return c.deny(d, !c.push.read && c.canSkipBody()) && c.skipBody()
	}
	return c.x.run(d)
}

// run dispatches the request that c holds; false ends the connection.
func (x *exchange) run(d verdict.Decision) bool {
	c := x.c
	x.reset(d)
	if err := x.compose(); errors.Is(err, http1.ErrTooLong) {
		return c.tooLong(d)
	} else if err != nil {
		return x.abort(verdict.ConnectorInvalidRequest, "the request body is malformed: "+why(err), false)
	}
	for fresh := false; ; fresh = true {
		if err := x.connect(fresh); err != nil {
			return x.notConnected(err)
		}
		err := x.send()
		if err == nil {
			err = x.head()
		}
		if err == nil {
			return x.respond()
		}
		if !x.again(err) {
			return x.failed(err)
		}
		c.end()
		x.u.close()
	}
}

// reset begins a new exchange in x, keeping its buffers. It has a frame of its
// own: one that copies an exchange would keep the stack of a tunnel, which lies
// above it for hours, from shrinking.
//
//go:noinline
func (x *exchange) reset(d verdict.Decision) {
	*x = exchange{c: x.c, d: d, resp: x.resp, body: x.body, reply: x.reply, msg: x.msg[:0], start: time.Now()}
}

// connect takes a connection from the pool, unless fresh, or makes one.
func (x *exchange) connect(fresh bool) error {
	c := x.c
	key := poolKey{c.call.Host, c.call.Port, c.call.Transport == intent.HTTPS}
	if x.u = nil; !fresh {
		x.u = c.srv.pool.get(key)
	}
	if x.u == nil {
		if err := c.fixed.failure(); err != nil {
			return err
		}
		nc, err := c.srv.dial(c.ctx, key)
		if err != nil {
			return err
		}
		bound(nc, c.room)
		x.u = newUpstream(key, nc, c.call.Transport == intent.Connect, c.srv.cfg.Memory)
	}
	if !c.begin(x.d, under(x.u.nc)) {
		x.u.close()
		return net.ErrClosed
	}
	return nil
}

func (x *exchange) notConnected(err error) bool {
	code, detail := refusal.OfDial(err)
	if refusal.IsAbort(code) {
		return x.abort(code, detail, x.inline)
	}
	d := x.c.srv.cfg.Enforcer.Refuse(x.c.ctx, &x.c.call, x.d, code, detail)
	d.Outcome = verdict.Deny
	return x.c.deny(d, x.inline)
}

func (x *exchange) send() error {
	from := x.start
	if !x.u.reused {
		from = time.Now() // connecting took its time
	}
	if err := x.u.nc.SetReadDeadline(from.Add(watchAfter)); err != nil {
		return err
	}
	if len(x.msg) > maxInline+sinkSize { // may be more than sockets hold
		x.u.nc.SetWriteDeadline(from.Add(x.c.srv.cfg.ConnectTimeout))
		defer x.u.nc.SetWriteDeadline(time.Time{})
	}
	if n, err := x.u.nc.Write(x.msg); err != nil {
		return &sendError{err, n}
	}
	if !x.inline {
		x.watch()
	}
	return nil
}

// head reads response heads up to the final one and passes interim ones on.
func (x *exchange) head() error {
	for interim := 0; ; {
		done, err := x.u.in.Response(&x.resp, x.c.call.Method)
		if err != nil {
			return err
		}
		if !done {
			if err := x.fill(); err != nil {
				return err
			}
			continue
		}
		if x.resp.Status >= 200 || x.resp.Status == 101 {
			x.res.Status, x.res.Latency = x.resp.Status, time.Since(x.start)
			return nil
		}
		if interim++; interim > maxInterim {
			return &http1.Error{Why: "too many interim responses"}
		}
		x.told = x.told || x.resp.Status == 100
		if err := x.interim(); err != nil {
			return err
		}
	}
}

// interim passes a 1xx on. A 100 nobody waits for, and any 1xx to an HTTP/1.0
// client, ends here.
func (x *exchange) interim() error {
	c := x.c
	if c.req.Minor == 0 || x.resp.Status == 100 && !x.expects {
		return nil
	}
	b := appendStatus(c.out.bytes(), x.resp.Status, x.resp.Reason)
	c.out.put(append(x.appendFields(b), crlf...))
	if err := c.out.flush(); err != nil {
		return &clientError{err}
	}
	return nil
}

// again reports whether a request that failed with err may be sent once more on a
// new connection: a kept connection turned out closed, nothing of a response
// came, and either nothing was sent or sending twice is harmless (RFC 9110,
// section 9.2.2).
func (x *exchange) again(err error) bool {
	if !x.u.reused || x.watched != nil || len(x.u.in.Buffered()) > 0 || x.res.Status != 0 {
		return false
	}
	var send *sendError
	if errors.As(err, &send) && send.n == 0 {
		return true
	}
	return x.inline && isGone(err) && x.c.call.Repeatable()
}
