package policy

import (
	"slices"
	"strings"
	"sync"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	schemaast "github.com/cedar-policy/cedar-go/x/exp/schema/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

// quick checks a policy against a few actions in place of all of them. The
// validator types every condition once per action, which is most of the cost of
// loading a bundle, yet actions declared together (one appliesTo) give the same
// types: they can differ only for a policy that speaks of actions outside its
// action scope. So one action stands for all that are declared with it, and such
// policies take the full check. quick can only accept; what it does not accept
// is judged, and worded, by the full check. Tests compare the two.
type quick struct {
	validator *validate.Validator
	standsFor map[types.EntityUID]types.EntityUID // action → the one checked for it
}

// quickModel is the model of a schema without action groups.
func quickModel(s *schema.Schema) (*model, error) {
	reduced, standsFor := reduce(s.AST())
	r, err := schema.NewSchemaFromAST(reduced).Resolve()
	if err != nil {
		return nil, err
	}
	m := fullModel(r)
	m.quick = &quick{validate.New(r), standsFor}
	for uid, stand := range standsFor {
		m.add(uid, r.Actions[stand])
	}
	m.full = sync.OnceValues(func() (*validate.Validator, error) {
		r, err := s.Resolve()
		if err != nil {
			return nil, err
		}
		return validate.New(r), nil
	})
	return m, nil
}

// reduce returns s with one action of each declaration.
func reduce(s *schemaast.Schema) (*schemaast.Schema, map[types.EntityUID]types.EntityUID) {
	standsFor := map[types.EntityUID]types.EntityUID{}
	out := *s
	out.Actions = reduceActions("Action", s.Actions, standsFor)
	out.Namespaces = make(schemaast.Namespaces, len(s.Namespaces))
	for name, ns := range s.Namespaces {
		ns.Actions = reduceActions(types.EntityType(name)+"::Action", ns.Actions, standsFor)
		out.Namespaces[name] = ns
	}
	return &out, standsFor
}

func reduceActions(kind types.EntityType, all schemaast.Actions, standsFor map[types.EntityUID]types.EntityUID) schemaast.Actions {
	names := make([]types.String, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	kept := schemaast.Actions{}
	stand := map[*schemaast.AppliesTo]types.EntityUID{}
	for _, name := range names {
		uid, a := types.NewEntityUID(kind, name), all[name]
		if _, ok := stand[a.AppliesTo]; !ok {
			stand[a.AppliesTo] = uid
			kept[name] = a
		}
		standsFor[uid] = stand[a.AppliesTo]
	}
	return kept
}

// accepts reports whether the full check accepts p. false means nothing.
func (q *quick) accepts(p *ast.Policy) bool {
	if q == nil || speaksOfActions(p) {
		return false
	}
	scope, ok := q.scope(p.Action)
	if !ok {
		return false
	}
	reduced := *p
	reduced.Action = scope
	return q.validator.Policy("", &reduced) == nil
}

// scope returns the action scope with every action replaced. Without groups
// "in" is "==".
func (q *quick) scope(scope ast.IsActionScopeNode) (ast.IsActionScopeNode, bool) {
	var named []types.EntityUID
	switch s := scope.(type) {
	case ast.ScopeTypeAll:
		return s, true
	case ast.ScopeTypeEq:
		named = []types.EntityUID{s.Entity}
	case ast.ScopeTypeIn:
		named = []types.EntityUID{s.Entity}
	case ast.ScopeTypeInSet:
		named = s.Entities
	}
	var stands []types.EntityUID
	for _, uid := range named {
		stand, known := q.standsFor[uid]
		if !known {
			return nil, false
		}
		if !slices.Contains(stands, stand) {
			stands = append(stands, stand)
		}
	}
	return ast.ScopeTypeInSet{Entities: stands}, len(stands) > 0
}

// speaksOfActions reports whether p mentions an action anywhere but in its
// action scope, or a value this function does not know.
func speaksOfActions(p *ast.Policy) bool {
	found := scopeSpeaks(p.Principal) || scopeSpeaks(p.Resource)
	visit := func(n ast.IsNode) bool {
		switch t := n.(type) {
		case ast.NodeTypeVariable:
			found = found || t.Name == "action"
		case ast.NodeTypeIs:
			found = found || isAction(t.EntityType)
		case ast.NodeTypeIsIn:
			found = found || isAction(t.EntityType)
		case ast.NodeValue:
			found = found || valueSpeaks(t.Value)
		}
		return !found
	}
	for _, c := range p.Conditions {
		ast.Inspect(ast.NewNode(c.Body), visit)
	}
	return found
}

func scopeSpeaks(scope ast.IsScopeNode) bool {
	switch s := scope.(type) {
	case ast.ScopeTypeAll:
		return false
	case ast.ScopeTypeEq:
		return isAction(s.Entity.Type)
	case ast.ScopeTypeIn:
		return isAction(s.Entity.Type)
	case ast.ScopeTypeIs:
		return isAction(s.Type)
	case ast.ScopeTypeIsIn:
		return isAction(s.Type) || isAction(s.Entity.Type)
	}
	return true
}

func valueSpeaks(v types.Value) bool {
	switch t := v.(type) {
	case types.Boolean, types.Long, types.String:
		return false
	case types.EntityUID:
		return isAction(t.Type)
	}
	return true
}

func isAction(t types.EntityType) bool {
	return t == "Action" || strings.HasSuffix(string(t), "::Action")
}
