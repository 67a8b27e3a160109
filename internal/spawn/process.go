//go:build unix

// Package spawn starts the processes that must not outlive this one. The kernel
// sends a parent-death signal when the *thread* that forked ends (prctl(2),
// PR_SET_PDEATHSIG), so all forks happen on threads that live as long as the
// process does.
//
// It does without os/exec, which forks a process of its own on first use to find
// out whether the kernel has pidfds: a millisecond on the way to every agent.
package spawn

import (
	"os"
	"sync"
	"syscall"
)

// Command is a process to start.
type Command struct {
	Path  string   // not searched for
	Args  []string // with argv[0]
	Env   []string
	Dir   string
	Files []*os.File // 0, 1, 2, …; they stay the caller's
	Attr  syscall.SysProcAttr

	// Group says that the child leads a group of its own (Attr.Setsid or Setpgid)
	// whose members are to end with it, also those that have not got as far as
	// asking for a parent-death signal.
	Group bool
}

// Process is a child of this process.
type Process struct {
	pid   int
	group bool
	mu    sync.Mutex
	done  bool // reaped: the pid may belong to somebody else

	wait   sync.Once
	status syscall.WaitStatus
	err    error
}

func start(c Command, attr *syscall.SysProcAttr) (*Process, error) {
	fds := make([]uintptr, len(c.Files))
	for i, f := range c.Files {
		fds[i] = f.Fd()
	}
	pid, err := syscall.ForkExec(c.Path, c.Args, &syscall.ProcAttr{Dir: c.Dir, Env: c.Env, Files: fds, Sys: attr})
	if err != nil {
		return nil, &os.PathError{Op: "fork/exec", Path: c.Path, Err: err}
	}
	return &Process{pid: pid, group: c.Group}, nil
}

// Kill sends SIGKILL to the process, and to its group; without effect once the
// process has been reaped.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kill()
}

func (p *Process) kill() {
	if p.done {
		return
	}
	_ = syscall.Kill(p.pid, syscall.SIGKILL)
	if p.group {
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	}
}

// Pid is the process's id; after Wait has returned it may be somebody else's.
func (p *Process) Pid() int { return p.pid }

// Signal sends sig to the process; without effect once it has been reaped.
func (p *Process) Signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.done {
		_ = syscall.Kill(p.pid, sig)
	}
}

// Wait reaps the process and says how it ended; every call gives the same answer.
func (p *Process) Wait() (syscall.WaitStatus, error) {
	p.wait.Do(p.reap)
	return p.status, p.err
}

// reap waits first without reaping, so that Kill can't hit a reused pid.
func (p *Process) reap() {
	p.err = waitExited(p.pid)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.group {
		p.kill() // whoever of the group is left; the leader is a zombie
	}
	p.done = true
	for p.err == nil {
		if _, err := syscall.Wait4(p.pid, &p.status, 0, nil); err != syscall.EINTR {
			p.err = err
			return
		}
	}
}
