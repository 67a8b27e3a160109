package mapping

import (
	"cmp"

	"firma/internal/action"
)

// tunnel is what one host pattern says about a tunnel. Nobody sees what goes
// through, so it is taken for the most powerful call that any rule of the host
// describes. It needs a rule that speaks of tunnels: a host of which only some
// calls are mapped has none.
type tunnel struct {
	admits bool  // some rule matches CONNECT itself
	best   *rule // the most powerful rule
	grant  *rule // the operator's own, which counts alone
}

func (t *tunnel) add(r *rule) {
	t.join(tunnel{admits: r.admitsTunnel(), best: r})
	if r.Grant && r.Method == "CONNECT" {
		t.grant = r
	}
}

func (t *tunnel) join(o tunnel) {
	t.admits = t.admits || o.admits
	if t.best == nil || o.best != nil && comparePower(o.best, t.best) > 0 {
		t.best = o.best
	}
	if t.grant == nil {
		t.grant = o.grant
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
