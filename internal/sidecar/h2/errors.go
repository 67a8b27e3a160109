package h2

import (
	"errors"

	"firma/internal/sidecar/refusal"
	"firma/internal/verdict"
)

// connError ends the connection: the client broke the protocol.
type connError struct {
	code uint32
	why  string
}

func (e *connError) Error() string { return "h2: " + e.why }

func violation(code uint32, why string) error { return &connError{code, why} }

var (
	errClientLeft = errors.New("h2: the client went away")
	errCut        = errors.New("h2: the connection was cut")
	errIdle       = errors.New("h2: nothing was carried for too long")
	errDone       = errors.New("h2: the stream is over")
)

// errTooLong is a request body that is longer than MaxBody.
var errTooLong = errors.New("h2: " + refusal.TooLong)

// bodyError is a request body that breaks the framing it announced.
type bodyError struct{ why string }

func (e *bodyError) Error() string { return "h2: malformed body: " + e.why }

// responseError is a response that can't be passed on.
type responseError struct{ why string }

func (e *responseError) Error() string { return "h2: malformed response: " + e.why }

// revokedError cuts a call whose permission ended.
type revokedError struct{ reason verdict.Reason }

func (e *revokedError) Error() string { return "h2: no longer permitted" }

// dialError marks a failure to connect.
type dialError struct{ error }

func (e *dialError) Unwrap() error { return e.error }

// resetError is how net/http's client reports a RST_STREAM of the upstream: its
// own type converts to any struct with these fields.
type resetError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e resetError) Error() string { return "h2: the upstream reset the stream" }
