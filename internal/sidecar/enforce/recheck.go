package enforce

import (
	"firma/internal/intent"
	"firma/internal/mapping"
	"firma/internal/policy"
	"firma/internal/verdict"
)

// Still judges again a call that was allowed as d and is still open: a tunnel, a
// long answer. It returns None, or why the call would be refused now. Nothing is
// counted or recorded; whoever cuts the call records its end.
//
// A bundle that went stale cuts nothing: no new call is decided by it, and what
// was decided while it was fresh goes on.
func (e *Enforcer) Still(c *intent.Call, d verdict.Decision) verdict.Reason {
	rule, coverage := e.table.Load().Classify(c)
	switch {
	case d.Passthrough && coverage == mapping.Unmapped:
		return verdict.None
	case coverage != mapping.Mapped:
		return verdict.UnclassifiedIntent
	}
	now, class := e.cfg.Now(), classOf(c, rule.ActionClass)
	if _, cerr := e.cfg.Authority.Tokens().Select(e.cfg.SessionID, class, c, now, e.cfg.Skew, e.cfg.Authority.Revoked); cerr != nil {
		return cerr.Reason
	}
	bundle, _ := e.cfg.Authority.Bundle()
	if bundle == nil {
		return verdict.PolicyBundleNotReady
	}
	res := evaluate(bundle, policy.Request{
		AgentID: e.cfg.AgentID, Class: class, ResourceID: d.Resource,
		Host: c.HostKey(), Path: c.Path, Method: c.Method,
		Context: e.session.peek(e.cfg.SessionID, c, now),
	}, c)
	if !res.Outcome.Dispatches() {
		return res.Reason
	}
	return verdict.None
}
