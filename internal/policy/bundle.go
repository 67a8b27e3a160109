// Package policy decides Stage 2: it compiles a bundle of Cedar policies and
// evaluates one request against the policies that can match it. It is pure: no
// network, no files, no clock. docs/policies.md is the language it accepts.
package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"

	"firma/internal/action"
)

// Bundle is a compiled set of policies. Its answers never change, and it is safe for concurrent
// use. The zero value and nil deny everything.
type Bundle struct {
	version string
	model   *model
	rules   map[cedar.PolicyID]*rule
	any     bucket                   // policies for every action
	classes map[action.Class]*target // one per action of the schema
	memo    memo
}

// Compile parses, checks and indexes policies, Cedar text that Join may have joined. Every
// policy must be valid for schema (empty: the one of Schema) and its remedies well
// formed; one that is not refuses the whole bundle. version is the caller's name
// for the bundle. Errors are *fault.Error PolicyInvalid around an *Error.
func Compile(version string, policies []byte, schema []byte) (b *Bundle, err error) {
	// The validator is marked experimental. A panic in it is a refusal of the
	// bundle, not the end of the process that holds the previous one.
	defer func() {
		if p := recover(); p != nil {
			b, err = nil, rejected(Problem{Text: fmt.Sprint("the policies can't be checked: ", p)})
		}
	}()
	m, err := modelFor(schema)
	if err != nil {
		return nil, rejected(schemaProblem(err))
	}
	rules, problems := parse(policies)
	for _, r := range rules {
		problems = append(problems, m.check(r)...)
	}
	if len(problems) > 0 {
		slices.SortStableFunc(problems, byPlace)
		return nil, rejected(inFiles(policies, problems)...)
	}
	return build(version, m, rules), nil
}

// check returns what the schema has against r. The validator repeats a message
// for each action and in no fixed order.
func (m *model) check(r *rule) []Problem {
	if m.quick.accepts(r.tree()) {
		return nil
	}
	v, err := m.full()
	if err != nil {
		return []Problem{schemaProblem(err)}
	}
	if err = v.Policy("", r.tree()); err == nil {
		return nil
	}
	texts := []string{err.Error()}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		texts = texts[:0]
		for _, e := range many.Unwrap() {
			texts = append(texts, e.Error())
		}
	}
	for i := range texts {
		texts[i] = readable(texts[i])
	}
	slices.Sort(texts)
	if strings.HasPrefix(texts[len(texts)-1], "unrecognized") {
		// What can't be named can't apply either; the cause is enough.
		texts = slices.DeleteFunc(texts, func(s string) bool { return strings.HasPrefix(s, "unable to find an applicable action") })
	}
	var problems []Problem
	for _, text := range slices.Compact(texts) {
		problems = append(problems, r.problem(text))
	}
	return problems
}

// readable takes the action out of a message that comes once per action, and
// says what to write where the message only says what is missing.
func readable(msg string) string {
	const per = " in context for "
	if i := strings.Index(msg, per); i >= 0 {
		if _, tail, ok := strings.Cut(msg[i+len(per):], `::"`); ok {
			if end := strings.IndexByte(tail, '"'); end >= 0 {
				msg = msg[:i] + " in context" + tail[end+1:]
			}
		}
	}
	if strings.HasPrefix(msg, "unable to guarantee safety of access to optional attribute") {
		msg += "; write `… has ATTRIBUTE && …` before it"
	}
	return msg
}

func schemaProblem(err error) Problem {
	var e *Error
	p := Problem{}
	if errors.As(err, &e) && len(e.Problems) == 1 {
		p = e.Problems[0]
	} else {
		p = unplaced(err)
	}
	p.Text = "schema: " + p.Text
	return p
}

func byPlace(a, b Problem) int {
	if a.Line != b.Line {
		return a.Line - b.Line
	}
	return a.Col - b.Col
}

// build indexes rules that passed every check.
func build(version string, m *model, rules []*rule) *Bundle {
	b := &Bundle{
		version: version,
		model:   m,
		rules:   make(map[cedar.PolicyID]*rule, len(rules)),
		classes: make(map[action.Class]*target, len(m.actions)),
	}
	for class, uid := range m.actions {
		b.classes[class] = &target{uid: uid, lineage: m.lineage(uid)}
	}
	for _, r := range rules {
		b.rules[r.id] = r
		b.index(r)
	}
	return b
}

// Version returns the version given to Compile.
func (b *Bundle) Version() string {
	if b == nil {
		return ""
	}
	return b.version
}

// Len returns the number of policies.
func (b *Bundle) Len() int {
	if b == nil {
		return 0
	}
	return len(b.rules)
}
