//go:build unix

package sidecar

import (
	"context"

	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"firma/internal/action"
	"firma/internal/attach"
	"firma/internal/audit"
	"firma/internal/capability"
	"firma/internal/control"
	"firma/internal/fault"
	"firma/internal/ids"
	"firma/internal/sidecar/intake"
	"firma/internal/sidecar/seeds"
	"firma/internal/sidecar/uplink"
)

// guest is a run that has attached, with a session of its own.
type guest struct {
	*session
	line       *attach.Guest
	relay, dns *intake.Queue
	captures   *intake.Queue
	mu         sync.Mutex // held while the session is set up, and while it is closed
	once       sync.Once
	sum        *control.Summary
	err        error
}

// close ends the session, once.
func (g *guest) close(ctx context.Context, end control.End) (*control.Summary, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.once.Do(func() {
		g.relay.Close()
		g.dns.Close()
		g.captures.Close()
		g.sum, g.err = g.session.close(ctx, end)
	})
	return g.sum, g.err
}

// attend serves an attached run until it ends or leaves.
func (d *standalone) attend(ctx context.Context, line *attach.Guest) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := line.Send(control.Message{Kind: control.KindTrust, Trust: d.trust()}); err != nil {
		d.log.Warn("a run left before it had attached", "from", line.From, "err", err)
		return
	}
	g, err := d.welcome(ctx, line)
	if err != nil {
		d.log.Warn("a run could not attach", "from", line.From, "err", err)
		_ = line.Send(control.Message{Kind: control.KindFailed, Failure: control.FailureOf(err)})
		return
	}
	defer d.dismiss(g)
	defer d.intake.Register(line, g.take)()
	log := d.log.With("sandbox_id", g.id.sandbox, "session_id", g.id.session)
	log.Info("run attached", "from", line.From)
	b, _ := d.side.state.Bundle()
	ready := &control.AuthorityReady{URL: d.o.AuthorityURL, BundleVersion: b.Version()}
	end := control.End{ExitCode: -1, Cause: errLauncherGone.Error()}
	if err := line.Send(control.Message{Kind: control.KindReady, AuthReady: ready, Capture: g.captured()}); err == nil {
		end = g.converse(ctx, line, log)
	}
	bounded, stop := context.WithTimeout(context.Background(), drainTime)
	defer stop()
	sum, err := g.close(bounded, end)
	log.Info("run ended", "exit_code", end.ExitCode, "cause", end.Cause)
	if err == nil {
		_ = line.Send(control.Message{Kind: control.KindSummary, Summary: sum})
	}
}

// trust is what an attached run's sandbox must trust: a certificate, never a key.
func (d *standalone) trust() *control.Trust {
	t := &control.Trust{}
	if x := &d.o.Start.Intercept; x.Enabled {
		t.CACert = x.CACert
	}
	return t
}

// converse answers the run's launcher until the run ends.
func (g *guest) converse(ctx context.Context, line *attach.Guest, log interface{ Warn(string, ...any) }) control.End {
	gone := control.End{ExitCode: -1, Cause: errLauncherGone.Error()}
	for {
		m, err := line.Recv()
		switch {
		case err != nil:
			return gone
		case m.Kind == control.KindEnd && m.End != nil:
			return *m.End
		case m.Kind != control.KindLaunch || m.Launch == nil:
			log.Warn("unexpected message from the launcher", "kind", string(m.Kind))
			return gone
		}
		if err := g.launched(ctx, m.Launch); err != nil {
			_ = line.Send(control.Message{Kind: control.KindFailed, Failure: control.FailureOf(err)})
			return control.End{ExitCode: -1, Cause: "AuditUnavailable"}
		}
		if line.Send(control.Message{Kind: control.KindRecorded}) != nil {
			return gone
		}
	}
}

// take receives the run's further connections.
func (g *guest) take(k attach.Kind, conn net.Conn) {
	switch k {
	case attach.DNS:
		g.dns.Put(conn)
	case attach.Capture:
		g.capture(conn)
	default:
		g.relay.Put(conn)
	}
}

// capture receives a connection that was meant for somebody else. The launcher
// says for whom before the agent's first byte.
func (g *guest) capture(conn net.Conn) {
	_ = conn.SetReadDeadline(time.Now().Add(attach.HandshakeTimeout))
	to, err := attach.ReadDestination(conn)
	if err != nil || conn.SetReadDeadline(time.Time{}) != nil || g.destinations == nil {
		conn.Close()
		return
	}
	g.destinations.Told(conn, to)
	if !g.captures.Put(conn) {
		g.destinations.Forget(conn)
	}
}

// welcome opens the session of a run: its identity must be well-formed and nobody
// else's, and it gets its capabilities here or not at all.
func (d *standalone) welcome(ctx context.Context, line *attach.Guest) (*guest, error) {
	m, err := line.Recv()
	if err != nil {
		return nil, err
	}
	if m.Kind != control.KindStart || m.Attach == nil {
		return nil, fault.New("Internal", "the launcher sent something other than a start message", "")
	}
	a := m.Attach
	id := identity{a.SandboxID, a.SessionID, a.AgentID}
	if err := id.check(); err != nil {
		return nil, err
	}
	tokens, err := d.capabilities(ctx, id, a.Seeds)
	if err != nil {
		return nil, err
	}
	g := &guest{session: d.side.session(id), line: line, relay: intake.NewQueue(), dns: intake.NewQueue(), captures: intake.NewQueue()}
	g.tokens = tokens
	if err := d.seat(g); err != nil {
		return nil, err
	}
	info := map[string]any{"mode": "attached", "from": line.From, "profile": a.Profile, "posture": a.Posture,
		"default_protected": d.o.Start.DefaultProtected, "rules": d.side.table.Len()}
	err = g.record(info)
	if err == nil {
		e := entrances{proxy: g.relay, dnsTCP: g.dns}
		if a.Transparent {
			e.captured, e.six = g.captures, a.Transparent6
		}
		err = g.serve(d.side.life, e)
	}
	if err == nil {
		d.share.Join(g.front.Conns, g.relay, g.captures)
		d.share.Join(func() int { return 0 }, g.dns) // what is accepted, the resolver bounds
	}
	g.mu.Unlock() // taken by seat
	if err != nil {
		_, _ = g.close(ctx, control.End{ExitCode: -1, Cause: "startup failed"})
		d.dismiss(g)
		return nil, err
	}
	return g, nil
}

func (id identity) check() error {
	switch {
	case !ids.Valid(ids.Sandbox, id.sandbox):
		return fault.New("Internal", "the sandbox id is not one", "")
	case !plain(id.session) || !plain(id.agent):
		return fault.New("ConfigValidation", "the session or the agent of the run is not an identifier", "use 1 to 256 printable characters without spaces")
	}
	return nil
}

func plain(s string) bool {
	return s != "" && len(s) <= 256 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// seat takes g in unless its session or sandbox is another run's: two runs never
// share one, or the counters that policies limit them by would be shared, too. A
// guest that was taken in is locked.
func (d *standalone) seat(g *guest) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ending {
		return fault.New("SidecarUnreachable", "the Sidecar is being stopped", "start it again")
	}
	for other := range d.guests {
		if other.id.session == g.id.session || other.id.sandbox == g.id.sandbox {
			return fault.New("SessionInUse", "another run uses the session "+g.id.session+" on this Sidecar",
				"wait for it to end, or issue a capability for another session")
		}
	}
	g.mu.Lock() // whoever ends the Sidecar now waits until the session is set up
	d.guests[g] = struct{}{}
	return nil
}

func (d *standalone) dismiss(g *guest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.guests, g)
}

// capabilities are those that the run brought; else those staged for its session;
// else one that the Authority is asked for, for as long as ctx lasts.
func (d *standalone) capabilities(ctx context.Context, id identity, brought []control.RulesFile) (func() *capability.Set, error) {
	s := d.o.Start
	if len(brought) > 0 {
		var tokens []*capability.Token
		for _, f := range brought {
			t, err := seeds.Verify(f.Name, f.Data, s.SeedKey, time.Now(), s.Skew)
			if err != nil {
				return nil, err
			}
			tokens = append(tokens, t)
		}
		set := capability.NewSet(tokens...)
		if !set.Holds(id.session) {
			return nil, fault.New("CapabilitySeedInvalid", "no capability of the run is for its session "+id.session, "issue one with --session-id "+id.session)
		}
		return func() *capability.Set { return set }, nil
	}
	if d.side.uplink == nil || d.side.staged().Holds(id.session) {
		return d.side.staged, nil
	}
	var held atomic.Pointer[capability.Set]
	err := d.side.uplink.Hold(ctx, uplink.Request{AgentID: id.agent, SessionID: id.session, Actions: action.All()},
		func(t *capability.Token) { held.Store(capability.NewSet(t)) })
	return held.Load, err
}

// launched records the agent's command before it runs.
func (s *session) launched(ctx context.Context, l *control.Launch) error {
	return s.event(ctx, audit.KindLaunch, func(e *audit.Event) {
		e.Action, e.Resource = "system.execute", l.Executable
		e.Info = audit.Info("directory", l.Dir, "arguments", itoa(l.Args))
		refused(e, l)
	})
}
