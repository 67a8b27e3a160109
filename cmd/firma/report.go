package main

import (
	"encoding/json"
	"errors"
	"os"

	"firma/internal/stack"
)

// startupReport is what a service tells the process that started it.
type startupReport = stack.Report

// reporter writes one startup report to an inherited pipe; without one it does
// nothing.
type reporter struct{ pipe *os.File }

// reported runs a service. If it fails before it was ready, the report says why,
// and whoever reads it is the one to tell the user.
func reported(fd int, serve func(*reporter) error) error {
	r := &reporter{}
	if fd >= 3 {
		r.pipe = os.NewFile(uintptr(fd), "report")
	}
	err := serve(r)
	if err == nil || r.pipe == nil {
		return err
	}
	r.ready(stack.Failed(err))
	return errors.Join(exitError(1), err)
}

// ready writes the report and closes the pipe.
func (r *reporter) ready(rep startupReport) {
	if r.pipe == nil {
		return
	}
	_ = json.NewEncoder(r.pipe).Encode(rep) // a starter that is gone needs none
	r.pipe.Close()
	r.pipe = nil
}
