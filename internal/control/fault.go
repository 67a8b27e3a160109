package control

import (
	"errors"

	"firma/internal/fault"
)

// FailureOf makes err fit for the wire; errors that are not faults are named
// Internal.
func FailureOf(err error) *Failure {
	var f *fault.Error
	if !errors.As(err, &f) {
		return &Failure{Name: "Internal", Text: err.Error()}
	}
	out := &Failure{Name: f.Name, Text: f.Text, Fix: f.Fix}
	if f.Err != nil {
		out.Cause = f.Err.Error()
	}
	return out
}

// Err is the fault that FailureOf described.
func (f *Failure) Err() error {
	e := fault.New(f.Name, f.Text, f.Fix)
	if f.Cause != "" {
		e.Err = errors.New(f.Cause)
	}
	return e
}
