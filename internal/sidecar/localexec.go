//go:build unix

package sidecar

import (
	"context"

	"firma/internal/audit"
	"firma/internal/control"
	contract "firma/internal/localexec"
	"firma/internal/sidecar/localexec"
	"firma/internal/verdict"
)

// serveLocalExec serves the command gate, if one is configured, until ctx ends:
// for the one session of a run's own Sidecar, or for every run with a Sidecar that
// stands alone, whose direct session it goes with. It returns once launchers can
// ask.
func (s *session) serveLocalExec(ctx context.Context) error {
	l := s.side.start.LocalExec
	direct := s.id.sandbox == ""
	if l == nil || !direct && s.id.sandbox != s.side.start.SandboxID {
		return nil // a guest's session: the direct one has the gate
	}
	g, err := localexec.Listen(localexec.Config{
		Socket: l.Socket, Management: l.Management,
		SandboxID: s.id.sandbox, SessionID: s.id.session, AgentID: s.id.agent, AnyRun: direct,
		DefaultAction: contract.Decision(l.DefaultAction), TokenTTL: l.TokenTTL, RetryAfter: l.RetryAfter,
		Audit: s.side.audit, Log: s.side.log,
	})
	if err != nil {
		return err
	}
	s.task("command gate", func() error { return g.Serve(ctx) })
	return nil
}

// refused turns the event of a launch into that of one that does not happen.
func refused(e *audit.Event, l *control.Launch) {
	if l.Refused == "" {
		return
	}
	e.Decision, e.Reason = verdict.Deny, verdict.ExecDenied
	e.DenyReason = e.Reason.Words() + ": " + l.Refused
}
