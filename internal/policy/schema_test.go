package policy

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"firma/internal/action"
)

func resolvedSchema(t testing.TB) *resolved.Schema {
	t.Helper()
	s, err := parseSchema(Schema())
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The registry is the source of the schema's actions.
func TestSchemaHasEveryClass(t *testing.T) {
	want := []string{"secret.mediate", "secret.redact"}
	for _, c := range action.All() {
		want = append(want, string(c))
	}
	slices.Sort(want)
	var got []string
	for uid := range resolvedSchema(t).Actions {
		if uid.Type != actionType {
			t.Errorf("action of type %s", uid.Type)
		}
		got = append(got, string(uid.ID))
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("actions of the schema (-registry +schema)\n%s", diff)
	}
}

// Every attribute the schema promises is one a request binds, and the reverse.
func TestSchemaAttributesAreBound(t *testing.T) {
	r := resolvedSchema(t)
	context := map[string]bool{} // name → optional
	for name, a := range r.Actions[cedar.NewEntityUID(actionType, "code.read")].AppliesTo.Context {
		context[string(name)] = a.Optional
	}
	bound := map[string]bool{}
	for _, f := range contextFields {
		optional := false
		if f.text != nil {
			_, always := f.text(&Context{})
			optional = !always
		}
		bound[f.name] = optional
	}
	if diff := cmp.Diff(context, bound); diff != "" {
		t.Errorf("context (-schema +bound)\n%s", diff)
	}
	if !slices.IsSortedFunc(contextFields[:], func(a, b field) int { return cmp2(a.name, b.name) }) {
		t.Error("contextFields is not in the order of the canonical JSON")
	}
	resource := map[string]bool{}
	for name, a := range r.Entities[resourceType].Shape {
		resource[string(name)] = a.Optional
	}
	want := map[string]bool{}
	for _, f := range resourceFields {
		want[f.name] = f.name != "id"
	}
	if diff := cmp.Diff(want, resource); diff != "" {
		t.Errorf("resource (-bound +schema)\n%s", diff)
	}
}

func cmp2(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// The model that starts quickly knows the same actions as the full one.
func TestQuickModelEqualsFullModel(t *testing.T) {
	quick, err := shipped()
	if err != nil {
		t.Fatal(err)
	}
	full := fullModel(resolvedSchema(t))
	if diff := cmp.Diff(full.actions, quick.actions); diff != "" {
		t.Errorf("actions (-full +quick)\n%s", diff)
	}
	if len(full.entities) != len(quick.entities) {
		t.Errorf("%d entities, want %d", len(quick.entities), len(full.entities))
	}
	for uid, e := range full.entities {
		if got, ok := quick.entities[uid]; !ok || !got.Equal(e) {
			t.Errorf("entity %s = %v, want %v", uid, got, e)
		}
	}
	if v, err := quick.full(); err != nil || v == nil {
		t.Errorf("full check: %v", err)
	}
}

// TestQuickCheckEqualsFullCheck: whatever the quick check accepts, the full one
// accepts; and it is not idle.
func TestQuickCheckEqualsFullCheck(t *testing.T) {
	m, err := shipped()
	if err != nil {
		t.Fatal(err)
	}
	full, err := m.full()
	if err != nil {
		t.Fatal(err)
	}
	accepted, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		text := genPolicy(t, shippedNames)
		rules, problems := parse([]byte(text))
		if len(problems) > 0 {
			t.Fatalf("%s: %v", text, problems)
		}
		tree := rules[0].tree()
		quick, slow := m.quick.accepts(tree), full.Policy("", tree)
		switch {
		case quick && slow != nil:
			t.Fatalf("accepted only by the quick check: %s\n%v", text, slow)
		case quick:
			accepted++
		case slow != nil:
			refused++
		case !speaksOfActions(tree):
			t.Fatalf("the quick check should accept: %s", text)
		}
	})
	if accepted == 0 || refused == 0 {
		t.Errorf("accepted %d, refused %d: the generator proves nothing", accepted, refused)
	}
}

// names are what genPolicy may write.
type vocabulary struct {
	actions, groups []string
	conditions      []string
}

var shippedNames = vocabulary{
	actions: []string{"code.read", "code.write", "secret.mediate", "nope"},
	groups:  []string{"code.merge"},
	conditions: []string{
		"true",
		"context.deny_count > 3",
		"context.nope > 3",
		"context has git_ref && context.git_ref like \"refs/*\"",
		"context.git_ref == \"x\"",
		"resource has host && resource.host == \"h1\"",
		"\"h2\" == resource.host",
		"resource has bin",
		"action == Firma::Action::\"code.read\"",
		"action in [Firma::Action::\"code.read\", Firma::Action::\"code.write\"]",
		"[action].contains(Firma::Action::\"code.merge\")",
		"context.prior_action_classes.contains(\"x\")",
		"context.prior_action_classes.contains(3)",
		"principal == Firma::Agent::\"a1\"",
		"principal is Firma::Action",
		"principal has name",
		"resource is Firma::SecretProvider",
		"if resource is Firma::Resource then resource.id == \"x\" else false",
		"resource.id == \"x\"",
		"context.session_id like \"s*\"",
		"context.action_count + 1",
		"ip(\"1.2.3.4\").isLoopback()",
	},
}

func genPolicy(t *rapid.T, v vocabulary) string {
	pick := func(label string, from ...string) string { return rapid.SampledFrom(from).Draw(t, label) }
	act := func() string {
		return fmt.Sprintf("Firma::Action::%q", pick("action", append(slices.Clone(v.actions), v.groups...)...))
	}
	agent := func() string { return fmt.Sprintf("Firma::Agent::%q", pick("agent", "a1", "a2", "")) }
	resource := func() string { return fmt.Sprintf("Firma::Resource::%q", pick("resource", "r1", "r2")) }
	entity := func(own func() string, other func() string) string {
		if rapid.IntRange(0, 9).Draw(t, "type") == 0 {
			return other()
		}
		return own()
	}
	scope := func(variable, kind string, own, other func() string) string {
		switch pick(variable, "any", "any", "eq", "in", "is", "isin") {
		case "eq":
			return variable + " == " + entity(own, other)
		case "in":
			return variable + " in " + entity(own, other)
		case "is":
			return variable + " is " + kind
		case "isin":
			return variable + " is " + kind + " in " + entity(own, other)
		}
		return variable
	}
	actionScope := "action"
	switch pick("action scope", "any", "eq", "in", "set") {
	case "eq":
		actionScope = "action == " + act()
	case "in":
		actionScope = "action in " + act()
	case "set":
		actionScope = "action in [" + act() + ", " + act() + "]"
	}
	resourceKind := pick("kind", "Firma::Resource", "Firma::Resource", "Firma::SecretProvider")
	text := fmt.Sprintf("%s (%s, %s, %s)", pick("effect", "permit", "forbid"),
		scope("principal", "Firma::Agent", agent, resource), actionScope, scope("resource", resourceKind, resource, agent))
	for range rapid.IntRange(0, 2).Draw(t, "conditions") {
		body := pick("condition", v.conditions...)
		for range rapid.IntRange(0, 2).Draw(t, "operators") {
			body += pick("operator", " && ", " || ") + "(" + pick("condition", v.conditions...) + ")"
		}
		text += fmt.Sprintf(" %s { %s }", pick("when", "when", "when", "unless"), body)
	}
	return text + ";\n"
}

func TestSpeaksOfActions(t *testing.T) {
	tests := map[string]bool{
		`permit (principal, action == Firma::Action::"code.read", resource) when { context.deny_count > 1 };`: false,
		`permit (principal is Firma::Agent, action, resource in Firma::Resource::"r");`:                       false,
		`permit (principal == Firma::Action::"code.read", action, resource);`:                                 true,
		`permit (principal, action, resource in Firma::Action::"code.read");`:                                 true,
		`permit (principal is Firma::Action, action, resource);`:                                              true,
		`permit (principal, action, resource is Firma::Resource in Firma::Action::"x");`:                      true,
		`permit (principal, action, resource) when { action == principal };`:                                  true,
		`permit (principal, action, resource) unless { {a: [action]}.a == [] };`:                              true,
		`permit (principal, action, resource) when { principal == Firma::Action::"code.read" };`:              true,
		`permit (principal, action, resource) when { principal is Action };`:                                  true,
		`permit (principal, action, resource) when { principal is Firma::Agent in Firma::Action::"x" };`:      true,
		`permit (principal, action, resource) when { if true then true else action has x };`:                  true,
	}
	for text, want := range tests {
		rules, problems := parse([]byte(text))
		if len(problems) > 0 {
			t.Fatalf("%s: %v", text, problems)
		}
		if got := speaksOfActions(rules[0].tree()); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
}

func TestQuickCheckRefuses(t *testing.T) {
	m, err := shipped()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		`permit (principal, action == Firma::Action::"nope", resource);`,
		`permit (principal, action in [Firma::Action::"code.read", Firma::Action::"nope"], resource);`,
		`permit (principal, action in [], resource);`,
		`permit (principal, action == Firma::Agent::"code.read", resource);`,
		`permit (principal, action == Firma::Action::"code.read", resource is Firma::SecretProvider);`,
	} {
		rules, problems := parse([]byte(text))
		if len(problems) > 0 {
			t.Fatalf("%s: %v", text, problems)
		}
		if m.quick.accepts(rules[0].tree()) {
			t.Errorf("accepted: %s", text)
		}
	}
}
