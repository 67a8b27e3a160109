//go:build unix && !linux

package spawn

import "syscall"

// Thread starts processes.
type Thread struct{}

// NewThread runs prepare, if not nil.
func NewThread(prepare func() error) (*Thread, error) {
	if prepare != nil {
		return &Thread{}, prepare()
	}
	return &Thread{}, nil
}

// Start starts c. This system has no parent-death signal: children watch their
// control channel only.
func (*Thread) Start(c Command, _ syscall.Signal) (*Process, error) {
	attr := c.Attr
	return start(c, &attr)
}
