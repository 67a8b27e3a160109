//go:build linux

package launch

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"firma/internal/ca"
	"firma/internal/control"
	"firma/internal/fault"
	"firma/internal/profile"
	"firma/internal/sandbox/bwrap"
	"firma/internal/spawn"
)

// run is one run in progress. Fields are set by the step that makes them and not
// changed afterwards.
type run struct {
	opts    Options
	std     Streams
	ids     identities
	view    *profile.View
	path    string // PATH, for programs of the host that this process starts
	bwrap   string
	filter  []byte
	ca      *ca.CA // behind the run's interception; nil when nothing is looked into
	streams *streams
	socks   control.Sockets // of the sandbox, until the Sidecar has them
	keeper  keeper
	marking sync.WaitGroup

	mu        sync.Mutex // guards the three below against an early end
	authority *child     // nil with a remote Authority
	sidecar   peer
	box       *bwrap.Process
	aborted   error // why the start was cut short
	holding   bool  // the start waits for the command gate, and ends in order

	deadline *time.Timer             // of the start
	cancel   context.CancelCauseFunc // ends the start's own waits

	started  chan struct{} // closed once the agent runs
	begins   atomic.Bool   // it may run already, though started is not closed
	overdue  chan struct{} // closed when the grace for ending is over
	expire   sync.Once     // guards closing it
	ctrlZ    chan struct{}
	progress *progress
}

// Run launches the agent and returns its exit status. An error means that firma
// failed: before the agent started, or by losing a part it can't run without.
//
// Shutdown, in reverse order of start: agent and everything in the sandbox,
// Sidecar (which seals the audit log), Authority.
func Run(ctx context.Context, o Options, std Streams) (int, error) {
	runtime.GOMAXPROCS(1) // it waits and copies; see startChild
	r := &run{opts: o, std: std, started: make(chan struct{}), overdue: make(chan struct{}), ctrlZ: make(chan struct{}, 1)}
	var err error
	if r.ids, err = identify(&r.opts); err != nil {
		return ExitFailure, err
	}
	if err := r.check(); err != nil {
		return ExitFailure, err
	}
	ctx, r.cancel = context.WithCancelCause(ctx)
	defer r.cancel(nil)
	r.progress = newProgress(std.Err, o.Quiet)
	defer r.progress.stop()
	stopSignals := r.forwardSignals()
	defer stopSignals()
	defer r.shutdown()
	if err := r.start(ctx); err != nil {
		return exitOf(err), err
	}
	r.progress.stop()
	return r.wait(ctx)
}

// check is what can be refused before any process is started: backend, state
// directory, filter.
func (r *run) check() error {
	host, err := r.host()
	if err != nil {
		return err
	}
	r.path = profile.HostPath(host)
	if r.bwrap, err = bwrap.FindOn(r.path); err != nil {
		return err
	}
	if err := CheckState(r.opts.StateDir); err != nil {
		return err
	}
	if err := r.planGate(); err != nil {
		return err
	}
	return r.loadFilter()
}

// resolve looks at the host for what the profile shows of it.
func (r *run) resolve() error {
	host, err := r.host()
	if err != nil {
		return err
	}
	if r.view, err = r.opts.Profile.Resolve(host); err != nil {
		return err
	}
	if err := r.trustCA(); err != nil {
		return err
	}
	r.view.Spec.Seccomp = r.filter
	r.warn()
	return r.hideGate()
}

// warn says what is weaker than a reader of the documentation would expect; it is
// not silenced by --quiet unless it only informs.
func (r *run) warn() {
	if !r.opts.Quiet {
		for _, n := range r.view.Notes {
			fmt.Fprintln(r.std.Err, "firma: note:", n)
		}
	}
	if !r.opts.Config.Protected() {
		fmt.Fprintln(r.std.Err, "firma: warning: default_protected = false: destinations that no rule covers are let through, and only recorded")
	}
	if LandlockABI() < 2 {
		fmt.Fprintln(r.std.Err, "firma: warning: this kernel has no Landlock (or one older than Linux 5.19): pid 1 of the sandbox can be traced by the agent, which gets it around the syscall filter, not out of the sandbox")
	}
}

// start brings up Authority, Sidecar and sandbox at once and joins them in the
// seed's order: what fails first in that order is what is reported.
func (r *run) start(ctx context.Context) error {
	r.deadline = time.AfterFunc(r.opts.StartupTimeout, func() {
		r.abort(fault.New("StartupTimeout", "the run did not start within "+r.opts.StartupTimeout.String(), "raise --sidecar-startup-timeout-secs, or see what is slow with --log-filter debug"))
	})
	defer r.deadline.Stop()
	if err := r.spawn(); err != nil {
		return r.startupError(err)
	}
	steps := []struct {
		what string
		do   func() error
	}{
		{"waiting for the Authority", r.joinAuthority},
		{"handing the sandbox's sockets to the Sidecar", r.joinSandbox},
		{"waiting for the Sidecar", r.joinSidecar},
		{"asking the command gate", func() error { return r.askGate(ctx) }},
		{"recording the launch", r.recordLaunch},
		{"starting the agent", r.exec},
	}
	for _, s := range steps {
		r.progress.set(s.what)
		begun := time.Now()
		if err := s.do(); err != nil {
			return r.startupError(err)
		}
		r.opts.Log.Debug("startup step done", "step", s.what, "took", time.Since(begun))
	}
	return nil
}

// spawn starts all parts, none of which waits for another: the roles first, since
// they have the most to do; what they are to be follows while they boot.
func (r *run) spawn() error {
	children, err := spawn.NewThread(nil)
	if err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return r.startAuthority(children) },
		func() error { return r.startSidecar(children) },
		r.resolve, r.instructAuthority, r.startSandbox, r.instructSidecar,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) startupError(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.aborted != nil {
		return r.aborted
	}
	if fault.NameOf(err) == "" {
		return fault.Wrap(err, "StartupFailed", "the run could not be started", "run again with --log-filter debug")
	}
	return err
}

func (r *run) startSandbox() error {
	var err error
	if r.streams, err = newStreams(r.std); err != nil {
		return err
	}
	if r.streams.input.to == r.streams.master {
		r.streams.input.onInput = r.typed
	}
	box, err := bwrap.Start(r.bwrap, &r.view.Spec, r.streams.agent)
	r.own(func() { r.box = box })
	return err
}

// own publishes a started process; if the start has been cut short, it is ended.
func (r *run) own(set func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	set()
	if r.aborted != nil {
		r.killLocked()
	}
}

// joinSandbox binds the sandbox's sockets with this process's credentials and
// passes them to the Sidecar. What leads connections to them stays here until the
// Sidecar has said which.
func (r *run) joinSandbox() error {
	var err error
	if r.socks, err = r.box.Sockets(); err != nil {
		return err
	}
	r.streams.started()
	if err := Listen(r.socks); err != nil {
		return err
	}
	served := []control.Socket{control.SocketProxy, control.SocketDNS, control.SocketDNSTCP}
	if r.opts.Transparent {
		if err := ListenCapture(r.socks); err != nil {
			return err
		}
		served = append(served, control.SocketCapture, control.SocketCapture6)
	}
	if r.opts.Sidecar != (Endpoint{}) {
		a, err := r.attachMessage()
		if err == nil {
			err = r.sidecar.send(control.Message{Kind: control.KindStart, Attach: a})
		}
		if err != nil {
			return err
		}
	}
	m, files := r.socks.Message(served...)
	if err := r.sidecar.send(m, files...); err != nil || !r.opts.Transparent {
		return err
	}
	return Redirect(r.socks)
}

// joinSidecar waits until the Sidecar serves. No socket of the sandbox stays here.
func (r *run) joinSidecar() error {
	m, err := r.sidecar.expect(control.KindReady)
	if err != nil {
		return err
	}
	if r.opts.Transparent {
		if !captures(m.Capture) {
			return r.noCapture()
		}
		if err := Route(r.socks, m.Capture); err != nil {
			return err
		}
	}
	r.socks.Close()
	r.mark(m.AuthReady)
	return nil
}

func (r *run) recordLaunch() error {
	if err := r.sidecar.send(control.Message{Kind: control.KindLaunch, Launch: r.launchMessage()}); err != nil {
		return err
	}
	_, err := r.sidecar.expect(control.KindRecorded)
	return err
}

func (r *run) exec() error {
	program, err := r.keeper.pinned()
	if err != nil {
		return err
	}
	r.divertLog()
	if err := r.streams.begin(); err != nil {
		return err
	}
	env := append(r.view.Env,
		"FIRMA_RUN_SANDBOX_ID="+r.ids.sandbox, "FIRMA_RUN_SESSION_ID="+r.ids.session, "FIRMA_AGENT_ID="+r.ids.agent)
	r.begins.Store(true)
	err = r.box.Exec(control.Exec{
		Argv: r.opts.Command, Program: program, Env: env, Dir: r.view.Dir,
		Terminal: r.streams.master != nil, RequireLandlock: LandlockABI() >= 2,
	})
	if err == nil {
		close(r.started)
		r.streams.flow()
	}
	return err
}
