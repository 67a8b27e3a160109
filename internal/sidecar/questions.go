//go:build unix

package sidecar

import (
	"cmp"
	"context"
	"net"

	"firma/internal/sidecar/allowance"
	"firma/internal/sidecar/hook"
)

// serveQuestions answers on ln what callers ask who carry out their calls
// themselves. Nothing is rechecked later: each answer is for one call, and what
// was revoked meanwhile is refused with the next question.
func (s *session) serveQuestions(ctx context.Context, ln net.Listener) error {
	l := &s.side.start.Limits
	h, err := hook.New(hook.Config{
		Enforcer: s.enforcer, Session: s.id.session, MaxConns: l.MaxConnections, IdleTimeout: l.IdleTimeout,
		Memory: allowance.New(cmp.Or(l.Memory, defaultMemory)), Log: s.side.log,
	})
	if err != nil {
		return err
	}
	s.front = h
	s.task("questions", func() error { return h.Serve(ctx, ln) })
	return nil
}
