// Package fault is the error a person acts on: a name, what happened, and the
// command or edit that fixes it. It depends on the standard library only, so
// every other package may use it.
package fault

import (
	"errors"
	"fmt"
)

// Error is a named failure with a fix. Name is an entry of Table; Text says what
// happened and Fix what to do, each one or more plain sentences. It is immutable
// once returned and safe for concurrent use.
type Error struct {
	Name string
	Text string
	Fix  string
	Err  error
}

// New returns a fault without a cause.
func New(name, text, fix string) *Error { return &Error{Name: name, Text: text, Fix: fix} }

// Wrap returns a fault caused by err.
func Wrap(err error, name, text, fix string) *Error {
	return &Error{Name: name, Text: text, Fix: fix, Err: err}
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Name, e.Text, e.Err)
	}
	return e.Name + ": " + e.Text
}

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is a fault of the same name.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Name == e.Name
}

// NameOf returns the name of the first fault in err's chain, or "".
func NameOf(err error) string {
	var f *Error
	if errors.As(err, &f) {
		return f.Name
	}
	return ""
}
