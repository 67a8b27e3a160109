package policy

import (
	_ "embed"
	"slices"
	"sync"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"firma/internal/action"
)

// The entity types of the schema that a Request becomes.
const (
	agentType    types.EntityType = "Firma::Agent"
	actionType   types.EntityType = "Firma::Action"
	resourceType types.EntityType = "Firma::Resource"
)

//go:embed firma.cedarschema
var schemaText string

// Schema returns the Cedar schema text that Compile uses when it is given none.
// The caller owns the bytes.
func Schema() []byte { return []byte(schemaText) }

// model is a schema ready for use: what policies are checked against, and the
// action entities with their groups. It is immutable and safe for concurrent use.
type model struct {
	full     func() (*validate.Validator, error) // resolves every action, once
	quick    *quick                              // nil when the schema has action groups
	actions  map[action.Class]types.EntityUID    // those an agent can do to a resource
	entities map[types.EntityUID]types.Entity    // every action entity
}

// shipped is resolved when the first bundle is compiled, not at start: most of
// the processes of a run compile none.
var shipped = sync.OnceValues(func() (*model, error) {
	s, err := parseSchema([]byte(schemaText))
	if err != nil {
		return nil, err
	}
	// A test resolves the shipped schema in full, so that no start has to.
	return quickModel(s)
})

func modelFor(text []byte) (*model, error) {
	if len(text) == 0 || string(text) == schemaText {
		return shipped()
	}
	s, err := parseSchema(text)
	if err != nil {
		return nil, err
	}
	r, err := s.Resolve()
	if err != nil {
		return nil, err
	}
	if !grouped(s.AST()) {
		return quickModel(s)
	}
	return fullModel(r), nil
}

func parseSchema(text []byte) (*schema.Schema, error) {
	if p := guard(text); p != nil {
		return nil, &Error{[]Problem{*p}}
	}
	var s schema.Schema
	return &s, s.UnmarshalCedar(text)
}

// grouped reports whether any action is in a group of actions.
func grouped(s *ast.Schema) bool {
	in := func(actions ast.Actions) bool {
		for _, a := range actions {
			if len(a.Parents) > 0 {
				return true
			}
		}
		return false
	}
	for _, ns := range s.Namespaces {
		if in(ns.Actions) {
			return true
		}
	}
	return in(s.Actions)
}

func fullModel(r *resolved.Schema) *model {
	v := validate.New(r)
	m := &model{
		full:     func() (*validate.Validator, error) { return v, nil },
		actions:  make(map[action.Class]types.EntityUID, len(r.Actions)),
		entities: make(map[types.EntityUID]types.Entity, len(r.Actions)),
	}
	for uid, a := range r.Actions {
		m.add(uid, a)
	}
	return m
}

// add notes the action uid, which is or behaves as a.
func (m *model) add(uid types.EntityUID, a resolved.Action) {
	e := a.Entity
	e.UID = uid
	m.entities[uid] = e
	if uid.Type == actionType && a.AppliesTo != nil &&
		slices.Contains(a.AppliesTo.Principals, agentType) && slices.Contains(a.AppliesTo.Resources, resourceType) {
		m.actions[action.Class(uid.ID)] = uid
	}
}

// lineage returns uid and every action group it is in, directly or not.
func (m *model) lineage(uid types.EntityUID) []types.EntityUID {
	line := []types.EntityUID{uid}
	for i := 0; i < len(line); i++ {
		for parent := range m.entities[line[i]].Parents.All() {
			if !slices.Contains(line, parent) {
				line = append(line, parent)
			}
		}
	}
	return line
}
