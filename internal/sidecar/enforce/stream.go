package enforce

import (
	"context"

	"firma/internal/audit"
	"firma/internal/intent"
	"firma/internal/policy"
	"firma/internal/verdict"
)

// streamAction stands in the audit log where no action class is known yet. Like
// network.dns it is not in the registry: no rule and no policy can name it.
const streamAction = "network.stream"

// Admit decides whether a stream to c's destination may be opened to be looked
// into: the address class permits it and some rule covers the destination, or who
// asks in it is to be told that none does. What is sent on it is judged call by call.
func (e *Enforcer) Admit(ctx context.Context, c *intent.Call) verdict.Decision {
	j := judgement{call: c, at: e.cfg.Now(), kind: audit.KindStream}
	j.d.Resource, j.d.ActionClass = c.Resource(), streamAction
	e.admit(ctx, &j)
	return e.record(ctx, &j)
}

func (e *Enforcer) admit(ctx context.Context, j *judgement) {
	if ctx.Err() != nil {
		j.deny(verdict.EnforcementTimeout, "the call was given up before it was decided")
		return
	}
	if reason, detail := e.cfg.Literals.Forbidden(j.call); reason != verdict.None {
		j.deny(reason, detail)
		return
	}
	if len(e.table.Load().Carries(j.call)) == 0 && !e.toldInside(j.call) {
		e.unmapped(j)
		return
	}
	if ok, reason := e.cfg.Authority.Ready(); !ok {
		j.deny(reason, "the Authority's state has not arrived yet")
		return
	}
	j.d.Outcome = verdict.Allow
}

// toldInside reports whether a refusal for want of a rule is told to each request
// of a stream rather than to who opens it. Clients take a stream that does not open
// for a fault of the network, and try again for minutes; they tell a person what a
// response says. Nothing is connected for it: Contactable has no class to allow, and
// every request is refused. On other ports servers speak first, and an agent would
// wait for one.
func (e *Enforcer) toldInside(c *intent.Call) bool { return e.cfg.DefaultProtected && c.Port == 443 }

// Contactable reports whether some class of calls to c's destination is allowed
// now, by capability and by policy, as far as that can be said without a path.
func (e *Enforcer) Contactable(c *intent.Call) bool {
	if reason, _ := e.cfg.Literals.Forbidden(c); reason != verdict.None {
		return false
	}
	classes := e.table.Load().Carries(c)
	if len(classes) == 0 {
		return !e.cfg.DefaultProtected
	}
	now := e.cfg.Now()
	bundle, fresh := e.cfg.Authority.Bundle()
	if ok, _ := e.cfg.Authority.Ready(); !ok || bundle == nil || !now.Before(fresh) {
		return false
	}
	for _, class := range classes {
		token, cerr := e.cfg.Authority.Tokens().Select(e.cfg.SessionID, class, c, now, e.cfg.Skew, e.cfg.Authority.Revoked)
		if cerr != nil || token.AgentID != e.cfg.AgentID {
			continue
		}
		res := bundle.Evaluate(policy.Request{
			AgentID: e.cfg.AgentID, Class: class, ResourceID: c.Resource(),
			Host: c.HostKey(), Path: c.Path, Method: c.Method,
			Context: e.session.peek(e.cfg.SessionID, c, now),
		})
		if res.Outcome.Dispatches() {
			return true
		}
	}
	return false
}

// OwnTunnel reports whether a CONNECT rule was written for c's port, other than
// the two of the web.
func (e *Enforcer) OwnTunnel(c *intent.Call) bool { return e.table.Load().OwnTunnel(c) }
