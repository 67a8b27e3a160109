package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"

	"firma/internal/verdict"
)

// Error says why a destination was not dialled (DestinationForbidden, a DENY) or
// could not be reached (an abort code). It is immutable.
type Error struct {
	Reason verdict.Reason
	Detail string // one sentence for the agent and the log
	Err    error  // cause of an abort, nil for a refusal
}

func (e *Error) Error() string { return string(e.Reason) + ": " + e.Detail }

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.Err }

// Refusal returns reason and detail; the proxy finds it by this method and so
// needs no import of this package.
func (e *Error) Refusal() (verdict.Reason, string) { return e.Reason, e.Detail }

func connectError(ctx context.Context, host string, port uint16, cause error) *Error {
	where := net.JoinHostPort(host, strconv.Itoa(int(port)))
	if timedOut(ctx, cause) {
		return &Error{verdict.ConnectorTimeout, "connecting to " + where + " timed out", cause}
	}
	return &Error{verdict.ConnectorFailure, fmt.Sprintf("connecting to %s failed: %s", where, plain(cause)), cause}
}

func timedOut(ctx context.Context, err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(ctx.Err(), context.DeadlineExceeded)
}

// plain drops the addresses that net's errors repeat.
func plain(err error) string {
	var no syscall.Errno
	if errors.As(err, &no) {
		return no.Error()
	}
	return err.Error()
}
