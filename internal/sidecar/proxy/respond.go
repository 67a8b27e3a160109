package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"firma/internal/sidecar/field"
	"firma/internal/sidecar/http1"
	"firma/internal/sidecar/refusal"
	"firma/internal/verdict"
)

// respond passes the final response on; false ends the connection.
func (x *exchange) respond() bool {
	if x.resp.Status == 101 {
		return x.switched()
	}
	c := x.c
	sent := x.inline || x.watched != nil && x.watched.complete.Load()
	again := sent && c.req.KeepAlive && !c.srv.draining.Load()
	chunked := x.resp.Framing == http1.Chunked || x.resp.Framing == http1.UntilClose
	if chunked && c.req.Minor == 0 { // HTTP/1.0 knows no chunks
		chunked, again = false, false
	}
	b := appendStatus(c.out.bytes(), x.resp.Status, x.resp.Reason)
	b = x.appendFields(b)
	switch {
	case x.resp.Framing == http1.Length, x.resp.HasLength && x.resp.Status != 204 && x.resp.Status >= 200:
		b = http1.AppendLength(b, x.resp.Length)
	case chunked:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	c.out.put(append(appendPersistence(b, again, c.req.Minor), crlf...))
	if err := x.content(chunked); err != nil {
		return x.broken(err)
	}
	return x.finish(again)
}

// appendFields copies the response's end-to-end fields.
func (x *exchange) appendFields(b []byte) []byte {
	for _, f := range x.resp.Fields {
		if !http1.Managed(f.Name) && !field.Ours(f.Name) && !x.resp.Nominated(f.Name) {
			b = http1.AppendField(b, f.Name, f.Value)
		}
	}
	return b
}

// content passes the body on. What has come leaves before the next wait, so that
// events of a stream arrive when they are sent. The end stays in the buffer.
func (x *exchange) content(chunked bool) error {
	out := &x.c.out
	x.reply.Reset(x.u.in, &x.resp.Head)
	for {
		p, err := x.reply.Next()
		switch {
		case p != nil:
			x.res.ResponseBytes += int64(len(p))
			if err := out.content(p, chunked); err != nil {
				return &clientError{err}
			}
		case err == io.EOF:
			x.trailer(chunked)
			return nil
		case err != nil:
			return err
		default:
			if err := out.flush(); err != nil {
				return &clientError{err}
			}
			if err := x.fillBody(); err != nil {
				return err
			}
		}
	}
}

// fillBody is fill where the upstream's end may be the end of the body.
func (x *exchange) fillBody() error {
	err := x.fill()
	if err == io.EOF {
		return x.reply.SourceEnded()
	}
	return err
}

func (x *exchange) trailer(chunked bool) {
	if !chunked {
		return
	}
	b := append(x.c.out.bytes(), "0\r\n"...)
	for _, f := range x.reply.Trailer {
		if http1.TrailerField(f.Name) && !field.Ours(f.Name) {
			b = http1.AppendField(b, f.Name, f.Value)
		}
	}
	x.c.out.put(append(b, crlf...))
}

// finish ends an exchange whose response is complete. The upstream connection is
// free before the client has the end of its response.
func (x *exchange) finish(again bool) bool {
	c := x.c
	whole := x.settleClient()
	revoked := c.end()
	if whole && x.resp.KeepAlive && x.resp.Framing != http1.UntilClose && revoked == verdict.None && !x.doubtful() {
		c.srv.pool.put(x.u)
	} else {
		x.u.close()
	}
	sent := c.out.flush() == nil
	x.record()
	if sent && (!again || !whole) {
		c.linger(!whole)
	}
	return sent && again && whole
}

// doubtful reports whether more than the one response may come on the upstream
// connection, by a common fault of servers: one that did not ask for the body it
// was announced may read it as the next request, and so may one that ignores
// lengths; a body may come where there is none. Were the connection kept, it would
// be taken for the answer to the next call.
func (x *exchange) doubtful() bool {
	return x.expects && !x.told || x.begins.LikeRequest() || x.resp.Withheld()
}

// settleClient ends the client's goroutine, if there is one, and reports whether
// the whole request was sent.
func (x *exchange) settleClient() bool {
	if x.watched == nil {
		return x.inline
	}
	whole := x.watched.stop()
	x.res.RequestBytes += x.watched.sent.Load()
	return whole
}

func (x *exchange) record() { x.c.srv.cfg.Enforcer.Dispatched(x.d, x.res) }

// failed ends an exchange that broke before the final response head.
func (x *exchange) failed(err error) bool {
	whole := x.settleClient()
	revoked := x.c.end()
	x.u.close()
	code, detail := x.explain(err, revoked)
	if code == verdict.RequestBodyTooLarge {
		return x.c.tooLong(x.d)
	}
	return x.abort(code, detail, whole)
}

// abort records and answers an exchange that has sent nothing to the client.
func (x *exchange) abort(code verdict.Reason, detail string, again bool) bool {
	x.res.Status, x.res.Abort, x.res.Detail = 0, code, detail
	x.record()
	return x.c.abort(x.d, code, detail, again)
}

// broken ends an exchange that broke within the response. The client must notice:
// its connection ends short of the announced length or last chunk, or by a reset
// where the end of the connection would be the end of the body.
func (x *exchange) broken(err error) bool {
	c := x.c
	x.settleClient()
	revoked := c.end()
	x.u.close()
	x.res.Abort, x.res.Detail = x.explain(err, revoked)
	x.record()
	c.out.flush()
	if c.req.Minor == 0 {
		unclean(c.raw)
	}
	return false
}

// explain names what broke an exchange off. The first cause counts: a revocation
// or a departed client closes the upstream connection, which then fails.
func (x *exchange) explain(err error, revoked verdict.Reason) (verdict.Reason, string) {
	if revoked != verdict.None {
		return revoked, "the permission ended while the call was under way"
	}
	if x.watched != nil && x.watched.err != nil {
		err = x.watched.err
	}
	var gone *clientError
	var bad *http1.Error
	switch {
	case errors.Is(err, http1.ErrTooLong):
		return verdict.RequestBodyTooLarge, refusal.TooLong
	case errors.Is(err, http1.ErrNoRoom):
		return verdict.ConnectorFailure, refusal.NoMemory
	case errors.As(err, &gone):
		return verdict.ConnectorFailure, "the client went away"
	case errors.As(err, &bad) && x.watched != nil && x.watched.err == err:
		return verdict.ConnectorInvalidRequest, "the request body is malformed: " + bad.Why
	case errors.As(err, &bad):
		return verdict.ConnectorFailure, "the upstream's response is malformed: " + bad.Why
	case errors.Is(err, os.ErrDeadlineExceeded):
		return verdict.ConnectorTimeout, "the upstream did not answer in time"
	case isGone(err):
		return verdict.ConnectorFailure, "the upstream closed the connection"
	}
	return verdict.ConnectorFailure, "the connection to the upstream failed"
}

func isGone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
