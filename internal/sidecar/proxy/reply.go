package proxy

import (
	"strconv"
	"time"
	"unicode/utf8"

	"firma/internal/sidecar/http1"
	"firma/internal/verdict"
)

// selfHint is for a client that talks to the proxy as if it were the server.
const selfHint = "this is firma's proxy: send the absolute URL (GET http://host/path) or CONNECT host:port, as a client does when HTTP_PROXY points here"

// settle turns every decision that does not dispatch into one that says why: the
// zero decision and a refusal without a reason are FailClosed.
func settle(d verdict.Decision) verdict.Decision {
	switch d.Outcome {
	case verdict.StepUp:
		d.Reason = verdict.StepUpRequired
	case verdict.Defer:
		d.Reason = verdict.Deferred
		d.Detail = "retry_after_ms: " + strconv.FormatInt(d.RetryAfter.Milliseconds(), 10)
	case verdict.Abort:
		if d.Reason == verdict.None {
			d.Reason = verdict.ConnectorFailure
		}
	}
	if d.Reason == verdict.None {
		d.Reason = verdict.FailClosed
		if d.Detail == "" {
			d.Detail = "no decision was made"
		}
	}
	return d
}

// deny answers with a decision that does not dispatch. again asks to keep the
// connection; the result says whether it can be.
func (c *conn) deny(d verdict.Decision, again bool) bool {
	d = settle(d)
	if d.Outcome == verdict.Abort {
		return c.reply(504, "Gateway Timeout", abortBody(d), d, again)
	}
	return c.reply(403, "Forbidden", denyBody(d), d, again)
}

// malformed audits and answers bytes that never became a call; the connection
// can't be trusted to be in step and is closed.
func (c *conn) malformed(transport, detail, hint string) {
	d := c.srv.cfg.Enforcer.Malformed(c.ctx, transport, detail)
	d.Outcome = verdict.Deny // whatever it says, there is nothing to dispatch
	if d.Reason == verdict.None {
		d.Reason, d.Detail = verdict.MalformedRequest, detail
	}
	if d.Hint == "" {
		d.Hint = hint
	}
	c.deny(d, false)
}

// abort answers an allowed call whose dispatch failed before a response head.
func (c *conn) abort(d verdict.Decision, code verdict.Reason, detail string, again bool) bool {
	d.Outcome, d.Reason, d.Detail = verdict.Abort, code, detail
	return c.deny(d, again)
}

func (c *conn) reply(status int, reason string, body []byte, d verdict.Decision, again bool) bool {
	again = again && c.req.KeepAlive && !c.srv.draining.Load()
	b := appendStatus(c.out.bytes(), status, reason)
	b = http1.AppendField(b, "Content-Type", "application/json")
	b = http1.AppendLength(b, int64(len(body)))
	if isID(d.EventID) {
		b = http1.AppendField(b, "X-Firma-Event", d.EventID)
	}
	if d.Outcome == verdict.Defer {
		b = http1.AppendField(b, "Retry-After", strconv.FormatInt(int64((d.RetryAfter+time.Second-1)/time.Second), 10))
	}
	b = appendPersistence(b, again, c.req.Minor)
	b = append(b, crlf...)
	if c.call.Method != "HEAD" {
		b = append(b, body...)
	}
	c.out.put(b)
	if !again {
		c.linger()
		return false
	}
	return c.out.flush() == nil
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

// denyBody is the contract's refusal with our additions, which are left out when
// unknown.
func denyBody(d verdict.Decision) []byte {
	b := appendJSON([]byte(`{"denied":true,"reason":`), string(d.Reason))
	b = appendJSON(append(b, `,"detail":`...), d.Detail)
	return appendFacts(b, d)
}

func abortBody(d verdict.Decision) []byte {
	b := appendJSON([]byte(`{"aborted":true,"reason":`), string(d.Reason))
	b = appendJSON(append(b, `,"detail":`...), d.Detail)
	return appendFacts(b, d)
}

func appendFacts(b []byte, d verdict.Decision) []byte {
	for _, f := range [...][2]string{
		{`,"action_class":`, d.ActionClass}, {`,"resource":`, d.Resource}, {`,"event_id":`, d.EventID}, {`,"hint":`, d.Hint},
	} {
		if f[1] != "" {
			b = appendJSON(append(b, f[0]...), f[1])
		}
	}
	return append(b, "}\n"...)
}

// appendJSON appends s as a JSON string in ASCII where it must be escaped; bytes
// that are no UTF-8 become U+FFFD.
func appendJSON(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ' || r == 0x7f || r == 0x2028 || r == 0x2029:
			b = append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

func isID(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '_' && c != '-' {
			return false
		}
	}
	return s != ""
}
