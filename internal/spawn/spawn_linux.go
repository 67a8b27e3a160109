// Package spawn starts the processes that must not outlive this one. The kernel
// sends a parent-death signal when the *thread* that forked ends (prctl(2),
// PR_SET_PDEATHSIG), so all forks happen on threads that live as long as the
// process does.
package spawn

import (
	"os/exec"
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

// Start is cmd.Start on the thread; the child gets sig when this process dies.
func (t *Thread) Start(cmd *exec.Cmd, sig syscall.Signal) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = sig
	done := make(chan error, 1)
	t.work <- func() { done <- cmd.Start() }
	return <-done
}
