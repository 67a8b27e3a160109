//go:build unix

package sidecar

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"

	"firma/internal/control"
	"firma/internal/fault"
	"firma/internal/sidecar/sock"
	"firma/internal/sidecar/uplink"
)

// ServeRun is the Sidecar of one run: it learns on ctl what to be, serves the
// sandbox's sockets it is handed there, and ends when ctl does, which is when its
// launcher does, or with ctx. However it ends, it seals the audit log first.
func ServeRun(ctx context.Context, ctl *control.Conn, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &perRun{ctl: ctl, log: log, in: make(chan received)}
	go r.receive(ctx)
	err := r.serve(ctx)
	if err != nil {
		_ = ctl.Send(control.Message{Kind: control.KindFailed, Failure: control.FailureOf(err)})
	}
	return err
}

// perRun is driven by one goroutine; receive only feeds it.
type perRun struct {
	ctl  *control.Conn
	log  *slog.Logger
	in   chan received
	side *Sidecar
	sess *session
	url  string // of the Authority
}

type received struct {
	m     control.Message
	files []*os.File
	err   error
}

var errLauncherGone = errors.New("the launcher is gone")

func (r *perRun) receive(ctx context.Context) {
	for {
		m, files, err := r.ctl.Recv()
		select {
		case r.in <- received{m, files, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// next is the next message; the end of the channel and of ctx are one error.
func (r *perRun) next(ctx context.Context) (received, error) {
	select {
	case in := <-r.in:
		if errors.Is(in.err, io.EOF) {
			return in, errLauncherGone
		}
		return in, in.err
	case <-ctx.Done():
		return received{}, errLauncherGone
	}
}

func (r *perRun) serve(ctx context.Context) error {
	first, err := r.next(ctx)
	if err != nil {
		return err
	}
	if first.m.Kind != control.KindStart || first.m.Sidecar == nil {
		return fault.New("Internal", "the launcher sent something other than a start message", "")
	}
	if r.side, err = newSidecar(first.m.Sidecar, r.log); err != nil {
		return err
	}
	end := control.End{ExitCode: -1, Cause: "startup failed"}
	if r.sess, err = r.side.open(r.identity()); err == nil {
		if err = r.assemble(ctx); err == nil {
			end, err = r.attend(ctx)
		}
	}
	sum, cerr := r.close(end)
	if err == nil && cerr == nil {
		return r.ctl.Send(control.Message{Kind: control.KindSummary, Summary: sum})
	}
	return errors.Join(err, cerr)
}

// identity is the run's, and what its first event says about it.
func (r *perRun) identity() (identity, map[string]any) {
	s := r.side.start
	return identity{s.SandboxID, s.SessionID, s.AgentID}, map[string]any{
		"profile": s.Profile, "posture": s.Posture, "default_protected": s.DefaultProtected,
		"operator_allowed": s.Allow, "rules": r.side.table.Len(),
	}
}

func (r *perRun) close(end control.End) (*control.Summary, error) {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	sum, err := r.sess.close(ctx, end)
	cp, serr := r.side.seal()
	return sealed(sum, cp), errors.Join(err, serr)
}

// assemble waits for the Authority and the sockets, which come in either order,
// and serves.
func (r *perRun) assemble(ctx context.Context) error {
	var socks control.Sockets
	uplinked := make(chan error, 1)
	authority := false
	for socks == nil || !authority {
		in, err := r.next(ctx)
		if err != nil {
			return err
		}
		switch {
		case in.m.Kind == control.KindAuthority && in.m.AuthReady != nil && !authority:
			authority = true
			go func() { uplinked <- r.connect(ctx, in.m.AuthReady) }()
		case in.m.Kind == control.KindSockets && socks == nil:
			if socks, err = control.NameSockets(in.m.Sockets, in.files); err != nil {
				return err
			}
		default:
			return fault.New("Internal", "unexpected message "+string(in.m.Kind)+" from the launcher", "")
		}
	}
	if err := <-uplinked; err != nil {
		return err
	}
	if err := r.listen(ctx, socks); err != nil {
		return err
	}
	ready := &control.AuthorityReady{URL: r.url, BundleVersion: r.side.uplink.BundleVersion()}
	err := r.ctl.Send(control.Message{Kind: control.KindReady, AuthReady: ready, Capture: r.sess.captured()})
	// The launcher started this process with one processor, for a quick start.
	runtime.SetDefaultGOMAXPROCS()
	return err
}

// connect brings up the Authority's streams and settles where the session's
// capabilities come from: pre-staged, or else asked for.
func (r *perRun) connect(ctx context.Context, a *control.AuthorityReady) error {
	s := r.side.start
	r.url = a.URL
	cfg := uplinkConfig(s, r.log)
	cfg.URL, cfg.PublicKey = a.URL, a.PublicKey
	if r.side.seeds == nil {
		cfg.Request = request(s)
	}
	u, err := uplink.New(cfg)
	if err != nil {
		return err
	}
	r.sess.tokens = u.Tokens
	if r.side.seeds != nil {
		if r.sess.tokens = r.side.seeds.Tokens; !r.sess.tokens().Holds(s.SessionID) {
			return fault.New("CapabilitySeedInvalid", "no capability seed is for this run's session "+s.SessionID, "run again: the seeds were rewritten while it started")
		}
	}
	return r.side.connect(ctx, u, a.URL)
}

// listen takes over the sandbox's sockets.
func (r *perRun) listen(ctx context.Context, socks control.Sockets) error {
	defer socks.Close()
	var e entrances
	for name, ln := range map[control.Socket]*net.Listener{
		control.SocketProxy: &e.proxy, control.SocketDNSTCP: &e.dnsTCP, control.SocketCapture: &e.captured, control.SocketCapture6: &e.captured6,
	} {
		if socks[name] == nil {
			continue // NameSockets holds those that every sandbox has
		}
		var err error
		if *ln, err = net.FileListener(socks[name]); err != nil {
			return err
		}
		*ln = sock.Listen(*ln)
	}
	var err error
	if e.dns, err = net.FilePacketConn(socks[control.SocketDNS]); err != nil {
		return err
	}
	r.side.begin()
	return r.sess.serve(ctx, e)
}

// attend serves the launcher until the run ends, and says how it ended.
func (r *perRun) attend(ctx context.Context) (control.End, error) {
	for {
		in, err := r.next(ctx)
		if err != nil {
			return control.End{ExitCode: -1, Cause: errLauncherGone.Error()}, err
		}
		switch {
		case in.m.Kind == control.KindLaunch && in.m.Launch != nil:
			if err := r.sess.launched(ctx, in.m.Launch); err != nil {
				return control.End{ExitCode: -1, Cause: "AuditUnavailable"}, err
			}
			if err := r.ctl.Send(control.Message{Kind: control.KindRecorded}); err != nil {
				return control.End{ExitCode: -1, Cause: errLauncherGone.Error()}, err
			}
		case in.m.Kind == control.KindEnd && in.m.End != nil:
			return *in.m.End, nil
		default:
			return control.End{ExitCode: -1, Cause: "Internal"}, fault.New("Internal", "unexpected message "+string(in.m.Kind)+" from the launcher", "")
		}
	}
}
