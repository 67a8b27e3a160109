//go:build linux

package launch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"firma/internal/control"
	"firma/internal/fault"
)

// wait returns when the agent has ended, or when a part of firma has: then the
// sandbox is ended too.
func (r *run) wait(ctx context.Context) (int, error) {
	done := make(chan struct{})
	var lost error
	var watch sync.WaitGroup
	for _, c := range r.parts() {
		watch.Add(1)
		go func() {
			defer watch.Done()
			select {
			case <-done:
			case <-c.lost():
				r.box.Kill()
			}
		}()
	}
	go r.watchSuspend(done)
	exit := r.box.Wait(ctx)
	for _, c := range r.parts() {
		if lost == nil {
			select {
			case <-c.lost():
				lost = c.died()
			default:
			}
		}
	}
	close(done)
	watch.Wait()
	r.streams.finish(r.overdue)
	if lost == nil && exit.Lost && r.late() {
		return r.finish(exitKilled, "killed: it did not end within "+grace.String())
	}
	if lost == nil && exit.Lost {
		lost = fault.New("SandboxLost", "the sandbox's bwrap process was killed, and the agent with it", "run again; if the kernel's out-of-memory killer did it, give the machine more memory")
	}
	if lost != nil {
		_, _ = r.finish(ExitFailure, fault.NameOf(lost)) // its own error says less than lost
		return ExitFailure, lost
	}
	return r.finish(exit.Code, cause(exit.Code))
}

func cause(code int) string {
	if code > 128 && code < 128+65 {
		return "signal " + syscall.Signal(code-128).String()
	}
	return "exit"
}

// finish tells the Sidecar that the run is over and shows its summary. A Sidecar
// that can't seal the record any more is a failure of the run, however well the
// agent did.
func (r *run) finish(code int, why string) (int, error) {
	s, err := r.summary(code, why)
	if err == nil && !r.opts.Quiet {
		plain(r.std.Err)
		printSummary(r.std.Err, s, r.opts.Again)
	}
	r.created()
	if err != nil {
		return ExitFailure, err
	}
	return code, nil
}

// created names the files that the host's own tools would run or obey and that
// the agent made or led elsewhere: they did not exist, or were symbolic links, when
// their guard could have been set up.
func (r *run) created() {
	for i, p := range r.view.Appeared() {
		if i == 0 {
			plain(r.std.Err)
		}
		fmt.Fprintf(r.std.Err, "firma: warning: the agent created %s, which tools of this host may run or obey: read it before you use the workspace\n", printable(p))
	}
}

func (r *run) summary(code int, why string) (*control.Summary, error) {
	if err := r.sidecar.send(control.Message{Kind: control.KindEnd, End: &control.End{ExitCode: code, Cause: why}}); err != nil {
		return nil, err
	}
	m, err := r.sidecar.expect(control.KindSummary)
	if err != nil {
		return nil, err
	}
	if m.Summary == nil {
		return nil, errors.New("the Sidecar sent an empty summary")
	}
	return m.Summary, nil
}

// abort cuts the start short: everything started so far is ended, and why is
// what the run reports.
func (r *run) abort(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.started:
		return
	default:
	}
	if r.aborted == nil {
		r.aborted = why
		r.cancel(why)
		if r.holding {
			return // a second time kills
		}
	}
	r.killLocked()
}

func (r *run) killLocked() {
	for _, c := range r.parts() {
		c.kill()
	}
	if r.box != nil {
		r.box.Kill()
	}
}

// shutdown ends what is left, in reverse order of start, and waits until it is
// gone.
func (r *run) shutdown() {
	if r.box != nil {
		r.box.Kill()
		r.box.Wait(context.Background())
	}
	for _, c := range r.parts() {
		c.stop()
	}
	r.socks.Close()
	r.keeper.sweep()
	r.unmark()
	if r.streams != nil {
		r.streams.close()
	}
	r.restoreLog()
}

func exitOf(err error) int {
	switch fault.NameOf(err) {
	case "CommandNotFound":
		return exitNotFound
	case "CommandNotExecutable":
		return exitNotExecutable
	}
	return ExitFailure
}
