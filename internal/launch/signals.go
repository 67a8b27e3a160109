//go:build linux

package launch

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"firma/internal/fault"
)

// grace is how long the agent may take to end after SIGTERM or SIGHUP; then the
// sandbox is killed.
const grace = 10 * time.Second

// forwardSignals gives the agent the signals that firma run gets, until the
// returned function is called. Before the agent runs, the ones that end a process
// end the start.
func (r *run) forwardSignals() (stop func()) {
	signal.Ignore(syscall.SIGPIPE) // a reader that left is the pump's matter
	ch := make(chan os.Signal, 16)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1,
		syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGTSTP, syscall.SIGCONT} {
		if !signal.Ignored(s) { // nohup, and a script's background jobs, stay what they are
			signal.Notify(ch, s)
		}
	}
	done := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-ch:
				r.signal(s.(syscall.Signal))
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(ch)
		close(done)
	}
}

func (r *run) signal(s syscall.Signal) {
	if r.begins.Load() { // the agent may be quicker than the word of it
		select {
		case <-r.started:
		case <-time.After(time.Second):
		}
	}
	select {
	case <-r.started:
	default:
		if s == syscall.SIGINT || s == syscall.SIGTERM || s == syscall.SIGHUP || s == syscall.SIGQUIT {
			r.abort(fault.New("Interrupted", "the run was interrupted before the agent started", ""))
		}
		return
	}
	switch s {
	case syscall.SIGWINCH:
		r.streams.resize() // the kernel signals the terminal's foreground group
	case syscall.SIGTSTP:
		r.box.Signal(syscall.SIGSTOP)
		r.suspend()
	case syscall.SIGCONT:
		if r.streams.tty != nil {
			_ = r.streams.activate()
		}
	case syscall.SIGTERM, syscall.SIGHUP:
		r.box.Signal(s)
		time.AfterFunc(grace, r.tooLate)
	default:
		r.box.Signal(s)
	}
}

// exitKilled is the status of an agent that SIGKILL ended.
const exitKilled = 128 + int(syscall.SIGKILL)

// tooLate ends a run that was told to end: its agent, and the wait for whoever
// should read its last output.
func (r *run) tooLate() {
	r.expire.Do(func() { close(r.overdue) })
	r.box.Kill()
}

func (r *run) late() bool {
	select {
	case <-r.overdue:
		return true
	default:
		return false
	}
}
