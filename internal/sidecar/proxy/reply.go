package proxy

import (
	"bytes"
	"strconv"

	"firma/internal/intent"
	"firma/internal/sidecar/http1"
	"firma/internal/sidecar/refusal"
	"firma/internal/verdict"
)

// selfHint is for a client that talks to the proxy as if it were the server.
const selfHint = "this is firma's proxy: send the absolute URL (GET http://host/path) or CONNECT host:port, as a client does when HTTP_PROXY points here"

// deny answers with a decision that does not dispatch. again asks to keep the
// connection; the result says whether it can be.
func (c *conn) deny(d verdict.Decision, again bool) bool {
	d = refusal.Settle(d)
	if c.way != byHTTP {
		c.turnAway(d)
		return false
	}
	return c.reply(d, again)
}

// malformed audits and answers bytes that never became a call; the connection
// can't be trusted to be in step and is closed.
func (c *conn) malformed(transport, detail, hint string) {
	c.deny(refusal.Malformed(c.srv.cfg.Enforcer.Malformed(c.ctx, transport, detail), detail, hint), false)
}

// noRoom refuses what would have the session hold more memory than it may; call is
// nil where there is none yet. The result is false: the connection ends.
func (c *conn) noRoom(call *intent.Call, prior verdict.Decision) bool {
	d := c.srv.cfg.Enforcer.Refuse(c.ctx, call, prior, verdict.SessionMemoryExhausted, refusal.NoMemory)
	d.Outcome = verdict.Deny
	c.deny(d, false)
	return false
}

// tooLong refuses a request for the length of its body, which may have shown only
// after it was allowed as prior. The result is false: the connection ends.
func (c *conn) tooLong(prior verdict.Decision) bool {
	d := c.srv.cfg.Enforcer.Refuse(c.ctx, &c.call, prior, verdict.RequestBodyTooLarge, refusal.TooLong)
	d.Outcome = verdict.Deny
	c.deny(d, false)
	return false
}

// abort answers an allowed call whose dispatch failed before a response head.
func (c *conn) abort(d verdict.Decision, code verdict.Reason, detail string, again bool) bool {
	d.Outcome, d.Reason, d.Detail = verdict.Abort, code, detail
	return c.deny(d, again)
}

func (c *conn) reply(d verdict.Decision, again bool) bool {
	status, reason := refusal.Status(d)
	if c.call.Method == "CONNECT" {
		reason = refusal.Phrase(d)
	}
	body := refusal.Body(d)
	inStep := again // nothing of a request is to come
	again = again && c.req.KeepAlive && !c.srv.draining.Load()
	b := appendStatus(c.out.bytes(), status, reason)
	b = http1.AppendField(b, "Content-Type", refusal.ContentType)
	b = http1.AppendLength(b, int64(len(body)))
	if id := refusal.Event(d); id != "" {
		b = http1.AppendField(b, "X-Firma-Event", id)
	}
	if after := refusal.RetryAfter(d); after != "" {
		b = http1.AppendField(b, "Retry-After", after)
	}
	b = appendPersistence(b, again, c.req.Minor)
	b = append(b, crlf...)
	if !c.asksHead() {
		b = append(b, body...)
	}
	c.out.put(b)
	if !again {
		c.linger(!inStep)
		return false
	}
	return c.out.flush() == nil
}

// asksHead reports whether the request that is answered is a HEAD, also where it never
// became a call: a client reads no body then, and would take one for something else.
func (c *conn) asksHead() bool {
	switch {
	case c.call.Method != "":
		return c.call.Method == "HEAD"
	case c.req.Method != nil:
		return string(c.req.Method) == "HEAD"
	}
	return bytes.HasPrefix(c.in.Buffered(), []byte("HEAD ")) // its head was not read
}

func appendStatus[R string | []byte](b []byte, status int, reason R) []byte {
	b = strconv.AppendInt(append(b, "HTTP/1.1 "...), int64(status), 10)
	b = append(append(b, ' '), reason...)
	return append(b, crlf...)
}

// appendPersistence says what becomes of the connection, where the version's
// default does not.
func appendPersistence(b []byte, again bool, minor int) []byte {
	switch {
	case !again:
		return append(b, "Connection: close\r\n"...)
	case minor == 0:
		return append(b, "Connection: keep-alive\r\n"...)
	}
	return b
}
