package spawn

import (
	"runtime"
	"syscall"
)

// Thread is an operating-system thread that only starts processes. It is never
// given back. Its methods may be called concurrently.
type Thread struct{ work chan func() }

// NewThread starts a thread and runs prepare on it first, if not nil: what
// prepare does to the thread (unshare(2)) holds for every process it starts. If
// prepare fails, the thread is unusable and its error is returned.
func NewThread(prepare func() error) (*Thread, error) {
	t := &Thread{work: make(chan func())}
	ready := make(chan error, 1)
	go func() {
		// Never unlocked: a thread whose goroutine ends while locked is destroyed,
		// and this one must not be.
		runtime.LockOSThread()
		var err error
		if prepare != nil {
			err = prepare()
		}
		ready <- err
		for f := range t.work {
			f()
		}
	}()
	return t, <-ready
}

// Start starts c on the thread; the child gets sig when this process dies.
func (t *Thread) Start(c Command, sig syscall.Signal) (*Process, error) {
	attr := c.Attr
	attr.Pdeathsig = sig
	var p *Process
	var err error
	done := make(chan struct{})
	t.work <- func() {
		p, err = start(c, &attr)
		close(done)
	}
	<-done
	return p, err
}
