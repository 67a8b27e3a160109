//go:build linux

package launch

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A stop in the agent's terminal is not reported to this process, which is not
// the agent's parent. So after Ctrl-Z was typed the agent's state is looked at,
// for a moment: when the agent itself is what stopped, firma run stops too, and
// the shell has its terminal back. A shell inside keeps its jobs to itself: it is
// not the one that stopped.
const (
	suspendWatch = 500 * time.Millisecond
	suspendEvery = 10 * time.Millisecond
)

const ctrlZ = 0x1a

func (r *run) typed(b []byte) {
	if bytes.IndexByte(b, ctrlZ) >= 0 {
		select {
		case r.ctrlZ <- struct{}{}:
		default:
		}
	}
}

// watchSuspend serves ctrlZ until done is closed.
func (r *run) watchSuspend(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-r.ctrlZ:
			if stopped(r.box.Pid(), done) {
				r.suspend()
			}
		}
	}
}

func stopped(pid int, done <-chan struct{}) bool {
	tick := time.NewTicker(suspendEvery)
	defer tick.Stop()
	for range suspendWatch / suspendEvery {
		if state(pid) == 'T' {
			return true
		}
		select {
		case <-done:
			return false
		case <-tick.C:
		}
	}
	return false
}

// state is the third field of /proc/PID/stat (proc(5)); the second is in
// parentheses and may hold anything.
func state(pid int) byte {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	i := bytes.LastIndexByte(b, ')')
	if i < 0 || i+2 >= len(b) {
		return 0
	}
	return b[i+2]
}

// suspend stops this process like any job, and goes on where it was when the
// shell continues it.
func (r *run) suspend() {
	r.streams.restore()
	stopHere()
	_ = r.streams.activate()
	r.continueAgent()
}

// stopHere returns when this process has been stopped and continued. A signal to
// the process may be taken by any thread while this one goes on; one to this very
// thread takes effect before the system call returns, and stops all.
func stopHere() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGSTOP)
}

// continueAgent wakes the agent's foreground process group.
func (r *run) continueAgent() {
	if r.streams.master == nil {
		r.box.Signal(syscall.SIGCONT)
		return
	}
	if pgrp, err := unix.IoctlGetInt(int(r.streams.master.Fd()), unix.TIOCGPGRP); err == nil && pgrp > 1 {
		_ = unix.Kill(-pgrp, unix.SIGCONT)
	}
}
