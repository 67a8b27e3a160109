package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// target is one action of the schema: its entity, the groups it is in, and the
// policies whose action scope names it or one of them.
type target struct {
	uid     types.EntityUID
	lineage []types.EntityUID
	bucket  bucket
	reads   needs // what the policies for this action, and for every action, can read
}

// bucket holds policies by what the rest of their scope asks for. A policy left
// out of a lookup is one whose scope, or leading host test, is false for the
// request: Cedar joins scope and conditions with a short-circuit &&, so it could
// neither match nor fail, whether permit or forbid.
type bucket struct {
	open  []*rule          // no constraint on principal or resource
	slots map[slot][]*rule // the others
	used  uint8            // bit mask of the slot.ask values present
}

// ask is a set of constraints.
type ask uint8

const (
	askPrincipal ask = 1 << iota // the agent has this id
	askResource                  // the resource has this id
	askHost                      // the resource's host is this one
)

type slot struct {
	ask       ask
	principal string
	resource  string // id or host
}

// never marks a scope that no request of ours can satisfy.
const never = ask(1 << 7)

func (k *bucket) add(s slot, r *rule) {
	if s.ask == 0 {
		k.open = append(k.open, r)
		return
	}
	if k.slots == nil {
		k.slots = map[slot][]*rule{}
	}
	k.slots[s] = append(k.slots[s], r)
	k.used |= 1 << s.ask
}

// collect appends the policies that can match.
func (k *bucket) collect(to []*rule, r *Request) []*rule {
	to = append(to, k.open...)
	for a := askPrincipal; a <= askPrincipal|askHost; a++ {
		if k.used&(1<<a) == 0 {
			continue
		}
		s := slot{ask: a}
		if a&askPrincipal != 0 {
			s.principal = r.AgentID
		}
		switch {
		case a&askResource != 0:
			s.resource = r.ResourceID
		case a&askHost != 0:
			s.resource = r.Host
		}
		to = append(to, k.slots[s]...)
	}
	return to
}

// index puts r where collect finds it for every request it could match.
func (b *Bundle) index(r *rule) {
	p := r.tree()
	s := slotOf(p)
	if s.ask&never != 0 {
		return
	}
	if _, all := p.Action.(ast.ScopeTypeAll); all {
		b.any.add(s, r)
		for _, t := range b.classes {
			t.reads = t.reads.union(r.needs)
		}
		return
	}
	for _, t := range b.classes {
		if names(p.Action, t) {
			t.bucket.add(s, r)
			t.reads = t.reads.union(r.needs)
		}
	}
}

// names reports whether the action scope holds for the action of t.
func names(scope ast.IsActionScopeNode, t *target) bool {
	switch s := scope.(type) {
	case ast.ScopeTypeEq:
		return s.Entity == t.uid
	case ast.ScopeTypeIn:
		return slices.Contains(t.lineage, s.Entity)
	case ast.ScopeTypeInSet:
		return slices.ContainsFunc(s.Entities, func(e types.EntityUID) bool { return slices.Contains(t.lineage, e) })
	}
	return true // not a scope we know: always a candidate
}

func slotOf(p *ast.Policy) slot {
	pAsk, agent := scopeID(p.Principal, agentType, askPrincipal)
	rAsk, resource := scopeID(p.Resource, resourceType, askResource)
	s := slot{ask: pAsk | rAsk, principal: agent, resource: resource}
	if rAsk == 0 {
		if host, ok := hostTest(p.Conditions); ok {
			s.ask |= askHost
			s.resource = host
		}
	}
	return s
}

// scopeID returns what a principal or resource scope asks of an entity of type
// own. Ours are in no groups, so "in" is "==".
func scopeID(scope ast.IsScopeNode, own types.EntityType, has ask) (ask, string) {
	switch s := scope.(type) {
	case ast.ScopeTypeEq:
		return sameType(s.Entity.Type == own, has), string(s.Entity.ID)
	case ast.ScopeTypeIn:
		return sameType(s.Entity.Type == own, has), string(s.Entity.ID)
	case ast.ScopeTypeIsIn:
		return sameType(s.Type == own && s.Entity.Type == own, has), string(s.Entity.ID)
	case ast.ScopeTypeIs:
		return sameType(s.Type == own, 0), ""
	}
	return 0, ""
}

func sameType(same bool, has ask) ask {
	if same {
		return has
	}
	return never
}

// hostTest returns the literal of a policy whose first condition starts with
// "resource has host && resource.host == LITERAL". With another host, or none,
// those conjuncts are false without an error, and evaluation stops there.
func hostTest(conditions []ast.ConditionType) (string, bool) {
	if len(conditions) == 0 || conditions[0].Condition == ast.ConditionUnless {
		return "", false
	}
	first := conjuncts(conditions[0].Body, 2)
	if len(first) < 2 {
		return "", false
	}
	has, ok := first[0].(ast.NodeTypeHas)
	if !ok || !isHost(has.StrOpNode) {
		return "", false
	}
	eq, ok := first[1].(ast.NodeTypeEquals)
	if !ok {
		return "", false
	}
	left, right := eq.Left, eq.Right
	if _, literal := left.(ast.NodeValue); literal {
		left, right = right, left
	}
	access, ok := left.(ast.NodeTypeAccess)
	value, literal := right.(ast.NodeValue)
	if !ok || !literal || !isHost(access.StrOpNode) {
		return "", false
	}
	host, ok := value.Value.(types.String)
	return string(host), ok
}

func isHost(n ast.StrOpNode) bool {
	v, ok := n.Arg.(ast.NodeTypeVariable)
	return ok && v.Name == "resource" && n.Value == "host"
}

// conjuncts returns the first operands, at least n of them when there are, of a
// chain of && in the order they are evaluated.
func conjuncts(node ast.IsNode, n int) []ast.IsNode {
	and, ok := node.(ast.NodeTypeAnd)
	if !ok {
		return []ast.IsNode{node}
	}
	left := conjuncts(and.Left, n)
	if len(left) >= n {
		return left
	}
	return append(left, conjuncts(and.Right, n-len(left))...)
}
