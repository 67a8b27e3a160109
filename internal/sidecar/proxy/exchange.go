package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"time"

	"firma/internal/sidecar/http1"
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
	body    http1.Body // of the request; the watcher's once it runs
	reply   http1.Body // of the response
	msg     []byte     // the request, up to where it is not buffered yet
	inline  bool       // msg is the whole request
	socket  bool       // the request asks for a WebSocket
	expects bool       // the client waits for 100 Continue

	start   time.Time
	armed   bool  // the read deadline is a timeout, not watchAfter
	sent    int64 // response bytes when the timeout was last set
	watched *client
	res     Dispatch
}

// request judges one request and carries the verdict out; false ends the
// connection.
func (c *conn) request() bool {
	hint, err := c.read()
	if err != nil {
		c.malformed("http", why(err), hint)
		return false
	}
	d := c.srv.cfg.Enforcer.Enforce(c.ctx, &c.call)
	if !d.Outcome.Dispatches() {
		return c.deny(d, c.canSkipBody()) && c.skipBody()
	}
	return c.x.run(d)
}

// canSkipBody reports, without waiting, whether the connection can go on after a
// refusal: the rest of the request's body is there already, or so small that it
// surely comes.
func (c *conn) canSkipBody() bool {
	if c.req.Continue { // the client may or may not send it now
		return false
	}
	c.x.body.Reset(c.in, &c.req.Head)
	for {
		p, err := c.x.body.Next()
		switch {
		case err != nil:
			return err == io.EOF
		case p == nil:
			left := c.x.body.Left()
			return 0 <= left && left <= maxInline
		}
	}
}

// skipBody discards what canSkipBody left of the body.
func (c *conn) skipBody() bool {
	for !c.x.body.Ended() {
		c.setReadDeadline(time.Now().Add(lingerTime))
		if c.x.body.Fill() != nil || !c.canGoOn() {
			return false
		}
	}
	return true
}

func (c *conn) canGoOn() bool {
	_, err := c.x.body.Next()
	return err == nil || err == io.EOF
}

// run dispatches the request that c holds; false ends the connection.
func (x *exchange) run(d verdict.Decision) bool {
	c := x.c
	*x = exchange{c: c, d: d, resp: x.resp, body: x.body, reply: x.reply, msg: x.msg[:0], start: time.Now()}
	if err := x.compose(); err != nil {
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

// compose builds the request message, with as much of the body as is buffered.
// An error is a malformed body.
func (x *exchange) compose() error {
	c := x.c
	b := c.appendRequest(x.msg, &x.d)
	switch c.req.Framing {
	case http1.Length:
		b = http1.AppendLength(b, c.req.Length)
	case http1.Chunked:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	if x.socket = c.wantsSocket(); x.socket {
		b = append(b, "Connection: Upgrade\r\nUpgrade: websocket\r\n"...)
	}
	head := len(b)
	b = append(b, crlf...)
	x.body.Reset(c.in, &c.req.Head)
	b, err := x.appendBody(b)
	x.inline = x.body.Ended()
	if x.expects = c.req.Continue && !x.inline; x.expects {
		b = append(b, make([]byte, len(expect))...)
		copy(b[head+len(expect):], b[head:])
		copy(b[head:], expect)
	}
	x.msg = b
	return err
}

const expect = "Expect: 100-continue\r\n"

func (x *exchange) appendBody(b []byte) ([]byte, error) {
	chunked := x.c.req.Framing == http1.Chunked
	for len(b) < maxInline {
		p, err := x.body.Next()
		if err == io.EOF {
			if chunked {
				b = append(b, http1.LastChunk...)
			}
			return b, nil
		}
		if p == nil {
			return b, err
		}
		x.res.RequestBytes += int64(len(p))
		if chunked {
			b = append(append(http1.AppendChunkSize(b, len(p)), p...), crlf...)
		} else {
			b = append(b, p...)
		}
	}
	return b, nil
}

// wantsSocket reports whether the request asks for a WebSocket (RFC 6455). Every
// other upgrade, h2c above all, is dropped: it would change protocols under the
// feet of whoever judged the request.
func (c *conn) wantsSocket() bool {
	return c.call.Method == "GET" && c.req.Minor == 1 && c.req.Framing == http1.NoBody && http1.EqualFold(c.req.Upgrade, "websocket")
}

// connect takes a connection from the pool, unless fresh, or makes one.
func (x *exchange) connect(fresh bool) error {
	c := x.c
	key := poolKey{c.call.Host, c.call.Port}
	if x.u = nil; !fresh {
		x.u = c.srv.pool.get(key)
	}
	if x.u == nil {
		nc, err := c.srv.dial(c.ctx, key)
		if err != nil {
			return err
		}
		x.u = newUpstream(key, nc)
	}
	if !c.begin(x.d, x.u.nc) {
		x.u.close()
		return net.ErrClosed
	}
	return nil
}

func (x *exchange) notConnected(err error) bool {
	code, detail := dialFailure(err)
	if isAbort(code) {
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
			x.sent = -1 // a deadline for the head says nothing about the body
			return nil
		}
		if interim++; interim > maxInterim {
			return &http1.Error{Why: "too many interim responses"}
		}
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

// fill reads from the upstream. When that takes long, the client is watched from
// then on, and the timeouts apply.
func (x *exchange) fill() error {
	for {
		err := x.u.in.Fill()
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if x.armed && x.stalled() {
			return err
		}
		if x.watched == nil {
			x.watch()
		}
		x.armed, x.sent = true, x.res.ResponseBytes
		if err := x.u.nc.SetReadDeadline(x.limit()); err != nil {
			return err
		}
	}
}

// stalled reports whether a deadline that expired was meant: before the head only
// once the request is sent, after it only if nothing came since it was set.
func (x *exchange) stalled() bool {
	if x.res.Status == 0 {
		return x.watched.pumped.Load()
	}
	return x.sent == x.res.ResponseBytes
}

func (x *exchange) limit() time.Time {
	d := x.c.srv.cfg.StreamIdle
	if x.res.Status == 0 {
		d = x.c.srv.cfg.ResponseTimeout
	}
	if d < 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
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
	return x.inline && isGone(err) && x.c.call.Override == "" && idempotent(x.c.call.Method)
}

func idempotent(method string) bool {
	switch method {
	case "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE":
		return true
	}
	return false
}
