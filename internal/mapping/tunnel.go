package mapping

import (
	"cmp"

	"firma/internal/action"
	"firma/internal/intent"
	"firma/internal/verdict"
)

// tunnel is what one host pattern says about a tunnel. Nobody sees what goes
// through, so it is taken for the most powerful call that any rule of the host
// describes. It needs a rule that speaks of tunnels: a host of which only some
// calls are mapped has none.
type tunnel struct {
	admits bool  // some rule matches CONNECT itself
	best   *rule // the most powerful rule
	grant  *rule // the operator's own, which counts alone
	speaks *rule // the narrowest rule with method CONNECT
}

func (t *tunnel) add(r *rule) {
	one := tunnel{admits: r.admitsTunnel(), best: r}
	if r.Method == "CONNECT" {
		one.speaks = r
		if r.Grant {
			one.grant = r
		}
	}
	t.join(one)
}

func (t *tunnel) join(o tunnel) {
	t.admits = t.admits || o.admits
	if t.best == nil || o.best != nil && comparePower(o.best, t.best) > 0 {
		t.best = o.best
	}
	if t.grant == nil {
		t.grant = o.grant
	}
	if t.speaks == nil || o.speaks != nil && o.speaks.beats(t.speaks) {
		t.speaks = o.speaks
	}
}

func (c *rule) admitsTunnel() bool {
	return c.Method == "CONNECT" || c.Method == "" && c.path.everything() && len(c.pairs) == 0
}

// comparePower orders rules by the risk of their class; of equal risk the rule
// written for CONNECT stands above the others, and then the class decides.
func comparePower(a, b *rule) int {
	return cmp.Or(
		cmp.Compare(action.RiskOf(a.ActionClass), action.RiskOf(b.ActionClass)),
		cmp.Compare(connects(a), connects(b)),
		action.Compare(a.ActionClass, b.ActionClass),
		cmp.Compare(a.score, b.score),
		cmp.Compare(b.Source, a.Source), // any order will do, as long as it is one
	)
}

func connects(r *rule) int {
	if r.Method == "CONNECT" {
		return 1
	}
	return 0
}

// rule returns the rule that a tunnel falls under, or nil.
func (t *tunnel) rule() *rule {
	if t.grant != nil {
		return t.grant
	}
	if !t.admits {
		return nil
	}
	return t.best
}

// accepts returns what the first bytes of a tunnel may be: as the operator's grant
// says, else the narrowest CONNECT rule. The most powerful rule, which the tunnel
// counts as, says nothing about it.
func (t *tunnel) accepts() verdict.Accepts {
	switch {
	case t.grant != nil:
		return t.grant.accepts
	case t.speaks != nil:
		return t.speaks.accepts
	}
	return 0
}

// TunnelAccepts returns what a tunnel to c's destination may show in its first
// bytes besides a ClientHello for c's host.
func (t *Table) TunnelAccepts(c *intent.Call) verdict.Accepts {
	all := t.tunnelOf(c)
	return all.accepts()
}

// OwnTunnel reports whether a CONNECT rule was written for c's port, other than
// the two of the web: what is spoken there is decided by host and port.
func (t *Table) OwnTunnel(c *intent.Call) bool {
	all := t.tunnelOf(c)
	return c.Port != 80 && c.Port != 443 && (all.grant != nil || all.speaks != nil)
}

func (t *Table) tunnelOf(c *intent.Call) (all tunnel) {
	if c.Host == "" {
		return all
	}
	t.match(c.HostKey(), c.Host, func(b *bucket) { all.join(b.tunnel) })
	return all
}
