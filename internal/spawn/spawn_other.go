//go:build !linux

// Package spawn starts the processes that must not outlive this one.
package spawn

import (
	"os/exec"
	"syscall"
)

// Thread starts processes.
type Thread struct{}

// NewThread runs prepare, if not nil.
func NewThread(prepare func() error) (*Thread, error) {
	if prepare != nil {
		return &Thread{}, prepare()
	}
	return &Thread{}, nil
}

// Start is cmd.Start: this system has no parent-death signal, so children watch
// their control channel only.
func (*Thread) Start(cmd *exec.Cmd, _ syscall.Signal) error { return cmd.Start() }
