//go:build unix

package sidecar

import (
	"cmp"
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"sync"
	"time"

	"firma/internal/audit"
	"firma/internal/capability"
	"firma/internal/control"
	"firma/internal/sidecar/allowance"
	"firma/internal/sidecar/capture"
	"firma/internal/sidecar/enforce"
	"firma/internal/sidecar/proxy"
	"firma/internal/sidecar/resolver"
)

// front is what answers the session's clients.
type front interface {
	Serve(context.Context, net.Listener) error
	Drain(context.Context) error
	Conns() int
}

// identity is whose calls a session decides.
type identity struct{ sandbox, session, agent string }

// session decides the calls of one agent: it has counters, upstream connections,
// synthetic addresses and capabilities of its own. Its steps run in the order
// open, serve, close.
type session struct {
	side   *Sidecar
	id     identity
	tokens func() *capability.Set

	enforcer *enforce.Enforcer
	front    front
	proxy    *proxy.Server // the front; nil where it is the gRPC hook

	destinations *capture.Destinations // of captured connections; nil: none are

	stop  context.CancelFunc
	tasks sync.WaitGroup
}

// session is a new one that has not begun.
func (c *Sidecar) session(id identity) *session {
	return &session{side: c, id: id, stop: func() {}}
}

// open begins a session; info is what it is to be held to.
func (c *Sidecar) open(id identity, info map[string]any) (*session, error) {
	s := c.session(id)
	return s, s.record(info)
}

// record writes the session's first event.
func (s *session) record(info map[string]any) error {
	return s.event(context.Background(), audit.KindRunStart, func(e *audit.Event) {
		e.Info, _ = json.Marshal(info)
	})
}

// event records a step of the run itself.
func (s *session) event(ctx context.Context, kind string, fill func(*audit.Event)) error {
	e := s.blank(kind)
	fill(e)
	return s.side.audit.Append(ctx, e)
}

func (s *session) blank(kind string) *audit.Event {
	return &audit.Event{Kind: kind, Decision: 1, SessionID: s.id.session, AgentID: s.id.agent, SandboxID: s.id.sandbox}
}

// authority is what the session's decisions see of the Authority.
type authority struct {
	state
	tokens func() *capability.Set
}

// Tokens returns the session's capabilities.
func (a authority) Tokens() *capability.Set { return a.tokens() }

// entrances are where a session's calls come in. Either proxy is there or questions,
// which are asked over gRPC; dnsTCP where there is a sandbox; dns and captured6 only
// where the sandbox's own sockets are served, captured where connections that were
// meant for somebody else come.
type entrances struct {
	proxy, questions            net.Listener
	dnsTCP, captured, captured6 net.Listener
	dns                         net.PacketConn
	six                         bool // captured has those over IPv6, too
}

// serve starts answering on the entrances, which it takes over. It returns at once.
func (s *session) serve(ctx context.Context, e entrances) error {
	c := s.side
	ctx, s.stop = context.WithCancel(ctx)
	c.sessions.Add(1)
	context.AfterFunc(ctx, func() { c.sessions.Add(-1) })
	if err := s.serveLocalExec(ctx); err != nil {
		return err
	}
	s.enforcer = enforce.New(enforce.Config{
		SandboxID: s.id.sandbox, SessionID: s.id.session, AgentID: s.id.agent,
		Table: c.table, DefaultProtected: c.start.DefaultProtected, NoAllow: c.start.NoAllow,
		Authority: authority{c.state, s.tokens}, Audit: c.audit, Literals: literals{c.egress}, Skew: c.start.Skew, Log: c.log, Pace: c.pace,
	})
	if e.questions != nil {
		return s.serveQuestions(ctx, e.questions)
	}
	cfg := limited(proxy.Config{Enforcer: s.enforcer, Dialer: c.egress, Log: c.log, Memory: allowance.New(cmp.Or(c.start.Limits.Memory, defaultMemory))}, &c.start.Limits)
	cfg.HostTimeout = c.pace.Timeout
	if err := s.lookInside(&cfg); err != nil {
		return err
	}
	names, err := s.names(e)
	if err != nil {
		return err
	}
	if names != nil {
		cfg.NameOf = names.Lookup
	}
	if s.proxy, err = proxy.New(cfg); err != nil {
		return err
	}
	s.front = s.proxy
	s.task("proxy", func() error { return s.proxy.Serve(ctx, e.proxy) })
	s.tasks.Go(func() { s.recheck(ctx) })
	if names != nil {
		s.serveNames(ctx, e, names)
	}
	return nil
}

// names gives the sandbox's names their addresses; nil without a sandbox.
func (s *session) names(e entrances) (*resolver.Resolver, error) {
	if e.dnsTCP == nil {
		return nil, nil
	}
	cfg := resolver.Config{Routable: s.enforcer.Routable, Refused: s.enforcer.NameRefused, Log: s.side.log}
	if e.captured6 != nil || e.six {
		cfg.Range6 = netip.MustParsePrefix(resolver.CaptureRange6)
	}
	return resolver.New(cfg)
}

// serveNames answers the sandbox's questions with addresses that stand for the
// names, and takes the connections to them.
func (s *session) serveNames(ctx context.Context, e entrances, names *resolver.Resolver) {
	if e.captured != nil {
		s.destinations = capture.New(capture.Config{Names: names.Lookup, Synthetic: names.Ranges(), Literals: s.side.table.Literals()})
		for _, ln := range []net.Listener{e.captured, e.captured6} {
			if ln != nil {
				s.task("capture", func() error { return s.proxy.ServeStreams(ctx, ln, s.destinations.Of) })
			}
		}
	}
	if e.dns != nil {
		s.task("resolver", func() error { return names.ServeUDP(ctx, e.dns) })
	}
	s.task("resolver over TCP", func() error { return names.ServeTCP(ctx, e.dnsTCP) })
}

// captured are the addresses whose connections the session takes.
func (s *session) captured() []netip.Prefix {
	if s.destinations == nil {
		return nil
	}
	return s.destinations.Prefixes()
}

// defaultMemory is what a session may make the Sidecar hold when nothing is
// configured, in bytes.
const defaultMemory = 64 << 20

// maxConns is how many connections an agent may have when nothing is configured.
const maxConns = 4096

// limited sets what the configuration bounds.
func limited(c proxy.Config, l *control.Limits) proxy.Config {
	c.MaxConns = within(l.MaxConnections, maxConns, "max_connections", c.Log)
	c.HeadTimeout, c.IdleTimeout, c.StreamIdle = l.HeadTimeout, l.IdleTimeout, l.StreamIdle
	c.ConnectTimeout, c.SessionMax, c.ResponseTimeout = l.ConnectTimeout, l.SessionMax, l.Response
	c.MaxBody = l.MaxBody
	return c
}

// recheckEvery is how long an open tunnel or answer lives on after a revocation,
// an expiry or a policy that no longer allows it: a second, and one more for each
// thousand open calls, so that many idle ones cost little.
const recheckEvery = time.Second

func (s *session) recheck(ctx context.Context) {
	timer := time.NewTimer(recheckEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		open := s.proxy.Conns()
		if open > 0 {
			s.proxy.Recheck(s.enforcer.Still)
		}
		timer.Reset(recheckEvery * time.Duration(1+open/1000))
	}
}

func (s *session) task(name string, f func() error) {
	s.tasks.Go(func() {
		if err := f(); err != nil {
			s.side.log.Debug("task ended", "task", name, "err", err)
		}
	})
}

// drainTime bounds how long calls that are still open may take to end once the
// agent is gone.
const drainTime = 2 * time.Second

// close ends the session and records its end: calls under way have until ctx ends.
// The summary lacks what only the sealed log knows.
func (s *session) close(ctx context.Context, end control.End) (*control.Summary, error) {
	if s.front != nil {
		_ = s.front.Drain(ctx)
	}
	s.stop()
	s.tasks.Wait()
	sum := &control.Summary{Log: s.side.start.AuditLog, Time: time.Now()}
	if s.enforcer != nil {
		sum.Counts, sum.More = s.enforcer.Tally().Counts()
	}
	e := s.blank(audit.KindRunEnd)
	e.Info = audit.Info("exit_code", itoa(end.ExitCode), "cause", end.Cause)
	err := s.side.audit.Append(context.Background(), e)
	sum.Events, sum.Checkpoint = e.Seq+1, "the Sidecar goes on and seals it at its end"
	return sum, err
}

// responseTimeout is how long an upstream may think; model APIs that don't stream
// think for minutes.
func (c *Sidecar) responseTimeout() time.Duration {
	if t := c.start.Limits.Response; t != 0 {
		return t
	}
	return 10 * time.Minute
}
