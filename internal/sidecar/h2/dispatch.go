package h2

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"firma/internal/intent"
	"firma/internal/sidecar/allowance"
	"firma/internal/sidecar/proxy"
	"firma/internal/sidecar/refusal"
	"firma/internal/sidecar/websocket"
	"firma/internal/verdict"
)

// exchange is the dispatch of one allowed request.
type exchange struct {
	*stream
	d     verdict.Decision
	res   proxy.Dispatch
	start time.Time
	held  allowance.Claim
	lean  bool         // little of the response may be held
	moved atomic.Int64 // bytes of the response that the client took
}

// run judges the stream's request and carries the verdict out.
func (st *stream) run() {
	code := codeInternal
	defer func() {
		st.linger()
		st.finish(code)
	}()
	defer st.c.srv.recover("stream")
	e := st.c.srv.cfg.Enforcer
	if st.head.tooLong {
		code = st.malformed("the header fields are longer than 64 KiB or more than 200")
		return
	}
	if err := st.read(); err != nil {
		code = st.malformed(why(err))
		return
	}
	if most := st.c.srv.cfg.MaxBody; most > 0 && st.head.length > most {
		code = st.refuse(verdict.Decision{}, verdict.RequestBodyTooLarge, refusal.TooLong)
		return
	}
	if err := st.readPush(); errors.Is(err, errTooLong) {
		code = st.refuse(verdict.Decision{}, verdict.RequestBodyTooLarge, refusal.TooLong)
		return
	} else if errors.Is(err, errNoRoom) {
		code = st.noRoom(verdict.Decision{})
		return
	} else if err != nil {
		code = st.malformed(why(err))
		return
	}
	d := e.Enforce(st.ctx, &st.call)
	if !d.Outcome.Dispatches() {
		code = st.deny(d)
		return
	}
	x := exchange{stream: st, d: d, start: time.Now()}
	defer func() { x.held.Release() }()
	if !x.admit() {
		code = st.noRoom(d)
		return
	}
	if st.head.protocol != "" {
		code = x.socket()
	} else {
		code = x.run()
	}
}

func why(err error) string {
	var i *intent.Error
	if errors.As(err, &i) {
		return i.Why
	}
	return err.Error()
}

// refuse is for what a limit refuses, after an ALLOW (prior) or before it.
func (st *stream) refuse(prior verdict.Decision, r verdict.Reason, detail string) uint32 {
	d := st.c.srv.cfg.Enforcer.Refuse(st.ctx, &st.call, prior, r, detail)
	d.Outcome = verdict.Deny
	return st.deny(d)
}

func (st *stream) malformed(detail string) uint32 {
	d := st.c.srv.cfg.Enforcer.Malformed(st.ctx, intent.HTTPS, detail)
	return st.deny(refusal.Malformed(d, detail, ""))
}

// deny answers with a decision that does not dispatch. It returns the code to end
// the stream with, should the answer not get through.
func (st *stream) deny(d verdict.Decision) uint32 {
	d = refusal.Settle(d)
	if st.head.grpc() {
		st.writeHead(grpcAnswer(d), true)
		return codeCancel
	}
	fields, body := answer(d)
	bodyless := st.head.method == "HEAD"
	if st.writeHead(fields, bodyless) == nil && !bodyless {
		st.writeData(body, true, false)
	}
	return codeCancel
}

// run sends the request and passes the response on. It returns the code to end
// the stream with if the response was not complete.
func (x *exchange) run() uint32 {
	if !x.begin(x.d) {
		return x.failed(errClientLeft)
	}
	defer x.limit()()
	req, answered := x.bounded(x.request(&x.d))
	resp, err := x.c.srv.up.by(x.lean).RoundTrip(req)
	if !answered() {
		if err == nil {
			resp.Body.Close()
		}
		err = context.DeadlineExceeded
	}
	if err != nil {
		return x.failed(err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == 101:
		return x.failed(&responseError{"it switched protocols unasked"})
	case resp.StatusCode < 200 || resp.StatusCode > 999: // net/http takes any number from HTTP/2
		return x.failed(&responseError{"its status is no number of three digits"})
	}
	x.res.Status, x.res.Latency = resp.StatusCode, time.Since(x.start)
	err = x.respond(resp)
	if err != nil && x.clientLeft() && resp.ContentLength == x.res.ResponseBytes {
		err = nil // it left with all it wanted, before the trailers
	}
	if err != nil {
		return x.broken(err)
	}
	x.record(nil)
	return codeNone
}

func (x *exchange) record(err error) {
	sent, cause := x.end()
	x.res.RequestBytes += sent
	if err != nil {
		x.res.Abort, x.res.Detail = explain(err, cause)
	}
	x.c.srv.cfg.Enforcer.Dispatched(x.d, x.res)
}

// failed ends an exchange that broke before the response head.
func (x *exchange) failed(err error) uint32 {
	if bad := x.badResponse.Load(); bad != nil {
		err = &responseError{bad.Why}
	}
	_, cause := x.end()
	code, detail := explain(err, cause)
	if x.isTooLong() {
		code, detail = verdict.RequestBodyTooLarge, refusal.TooLong
	}
	if !refusal.IsAbort(code) && cause == nil {
		d := x.c.srv.cfg.Enforcer.Refuse(x.ctx, &x.call, x.d, code, detail)
		d.Outcome = verdict.Deny
		return x.deny(d)
	}
	x.res.Status = 0
	x.record(err)
	d := x.d
	d.Outcome, d.Reason, d.Detail = verdict.Abort, code, detail
	return x.deny(d)
}

// broken ends an exchange that broke within the response: the client is told by a
// reset, with the upstream's own code where it gave one.
func (x *exchange) broken(err error) uint32 {
	x.record(err)
	var r resetError
	if errors.As(err, &r) && r.Code != codeNone && r.Code <= codeLast {
		return r.Code
	}
	return codeInternal
}

// explain names what broke an exchange off. The first cause counts: a revocation
// or a departed client cancels the request upstream, which then fails.
func explain(err, cause error) (verdict.Reason, string) {
	var frames *websocket.Error
	if errors.As(err, &frames) {
		return verdict.ConnectorFailure, frames.Error()
	}
	if cause != nil {
		err = cause
	}
	var revoked *revokedError
	var body *bodyError
	var bad *responseError
	var dial *dialError
	var reset resetError
	var ne net.Error
	switch {
	case errors.Is(err, errTooLong):
		return verdict.RequestBodyTooLarge, refusal.TooLong
	case errors.Is(err, errNoRoom):
		return verdict.ConnectorFailure, refusal.NoMemory
	case errors.As(err, &revoked):
		return revoked.reason, "the permission ended while the call was under way"
	case errors.As(err, &body):
		return verdict.ConnectorInvalidRequest, "the request body is malformed: " + body.why
	case errors.Is(err, errClientLeft), errors.Is(err, errCut), errors.Is(err, errDone):
		return verdict.ConnectorFailure, "the client went away"
	case errors.Is(err, errIdle):
		return verdict.ConnectorTimeout, "nothing was carried for too long"
	case errors.As(err, &dial):
		return refusal.OfDial(dial.error)
	case refusal.Carries(err):
		return refusal.OfDial(err)
	case errors.As(err, &bad):
		return verdict.ConnectorFailure, "the upstream's response is malformed: " + bad.why
	case errors.As(err, &reset):
		return verdict.ConnectorFailure, "the upstream reset the stream"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		return verdict.ConnectorTimeout, "the upstream did not answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return verdict.ConnectorFailure, "the upstream closed the connection"
	}
	return verdict.ConnectorFailure, "the connection to the upstream failed"
}
