// Package refusal words a decision that does not dispatch for the agent: one
// status, one JSON body, whichever protocol carries it.
package refusal

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"firma/internal/verdict"
)

// ContentType is the media type of Body.
const ContentType = "application/json"

// Settle turns every decision that does not dispatch into one that says why: the
// zero decision and a refusal without a reason are FailClosed.
func Settle(d verdict.Decision) verdict.Decision {
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

// Malformed completes what the Enforcer answered to bytes that are no call:
// whatever it says, there is nothing to dispatch.
func Malformed(d verdict.Decision, detail, hint string) verdict.Decision {
	d.Outcome = verdict.Deny
	if d.Reason == verdict.None {
		d.Reason, d.Detail = verdict.MalformedRequest, detail
	}
	if d.Hint == "" {
		d.Hint = hint
	}
	return d
}

// Status is 504 for an aborted dispatch, HTTP's own for what a limit refuses, and
// 403 for every other refusal.
func Status(d verdict.Decision) (code int, text string) {
	switch {
	case d.Outcome == verdict.Abort:
		return 504, "Gateway Timeout"
	case d.Reason == verdict.RequestBodyTooLarge:
		return 413, "Content Too Large"
	case d.Reason == verdict.RateLimited:
		return 429, "Too Many Requests"
	case d.Reason == verdict.SessionMemoryExhausted:
		return 503, "Service Unavailable"
	}
	return 403, "Forbidden"
}

// maxPhrase is what a phrase may tell of a reason, in bytes.
const maxPhrase = 200

// Phrase is Status's text with the reason of a settled decision, for the status line
// of an answer to CONNECT: most clients throw the body away, and Go's, Python's and
// Java's tell their user this line.
func Phrase(d verdict.Decision) string {
	_, text := Status(d)
	why := string(d.Reason)
	if d.Detail != "" {
		why += ": " + d.Detail
	}
	why = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, why)
	return text + " (firma: " + why[:min(len(why), maxPhrase)] + ")"
}

// Event returns the value of X-Firma-Event, or "" if there is none to send.
func Event(d verdict.Decision) string {
	for i := 0; i < len(d.EventID); i++ {
		c := d.EventID[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '_' && c != '-' {
			return ""
		}
	}
	return d.EventID
}

// RetryAfter returns the value of Retry-After in whole seconds, or "" if waiting
// does not help.
func RetryAfter(d verdict.Decision) string {
	switch {
	case d.Reason == verdict.SessionMemoryExhausted && d.RetryAfter == 0:
		return "1"
	case d.Outcome != verdict.Defer && d.Reason != verdict.RateLimited:
		return ""
	}
	return strconv.FormatInt(int64((d.RetryAfter+time.Second-1)/time.Second), 10)
}

// Body is the contract's refusal of a settled decision with our additions, which
// are left out when unknown. error.message is where clients of model providers look
// for what to tell a person; without it some say that there is no body.
func Body(d verdict.Decision) []byte {
	b := []byte(`{"denied":true,"reason":`)
	if d.Outcome == verdict.Abort {
		b = []byte(`{"aborted":true,"reason":`)
	}
	b = appendJSON(b, string(d.Reason))
	b = appendJSON(append(b, `,"detail":`...), d.Detail)
	for _, f := range [...][2]string{
		{`,"action_class":`, d.ActionClass}, {`,"resource":`, d.Resource}, {`,"event_id":`, d.EventID}, {`,"hint":`, d.Hint},
	} {
		if f[1] != "" {
			b = appendJSON(append(b, f[0]...), f[1])
		}
	}
	b = appendJSON(append(b, `,"error":{"message":`...), brief(d))
	return append(b, "}}\n"...)
}

func brief(d verdict.Decision) string {
	if d.Detail == "" {
		return "firma: " + string(d.Reason)
	}
	return "firma: " + string(d.Reason) + ": " + d.Detail
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

// refused is what an error of a dialer may carry.
type refused interface {
	error
	Refusal() (verdict.Reason, string)
}

// OfDial reads the reason and the text for the agent out of a dialer's error.
func OfDial(err error) (verdict.Reason, string) {
	var r refused
	if errors.As(err, &r) {
		return r.Refusal()
	}
	var ne net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &ne) && ne.Timeout() {
		return verdict.ConnectorTimeout, "connecting timed out"
	}
	return verdict.ConnectorFailure, "connecting failed"
}

// Carries reports whether err says itself how the call is to be refused.
func Carries(err error) bool {
	var r refused
	return errors.As(err, &r)
}

// IsAbort tells an abort code from the reason of a refusal.
func IsAbort(r verdict.Reason) bool {
	switch r {
	case verdict.ConnectorTimeout, verdict.ConnectorFailure, verdict.ConnectorInvalidRequest, verdict.CredentialInjectionFailed:
		return true
	}
	return false
}

// TooLong is for the agent whose request has a body that may not be sent.
const TooLong = "the request body is longer than the operator permits (max_request_body_size)"

// NoMemory is for the agent whose session may make the Sidecar hold no more.
const NoMemory = "the session's calls hold all the memory they may (total_body_budget); let some end"
