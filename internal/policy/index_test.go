package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"firma/internal/action"
)

// groupedSchema has nested groups of actions, which the shipped one lacks.
const groupedSchema = `namespace Firma {
  entity Agent;
  entity Resource { id: String, host?: String, path?: String, method?: String };
  entity SecretProvider;
  action "outer";
  action "inner" in ["outer"];
  action "code.read" in ["inner"] appliesTo { principal: [Agent], resource: [Resource] };
  action "code.write" in ["outer"] appliesTo { principal: [Agent], resource: [Resource] };
  action "code.merge" appliesTo { principal: [Agent], resource: [Resource] };
}`

// Nothing here is checked against a schema: what fails at run time must fail the
// same way with and without the index.
var wild = vocabulary{
	actions: []string{"code.read", "code.write", "code.merge", "nope"},
	groups:  []string{"inner", "outer"},
	conditions: []string{
		"true", "false", "1",
		"resource has host && resource.host == \"h1\"",
		"resource has host && \"h1\" == resource.host",
		"resource has host && resource.host == \"h2\"",
		"resource has host && resource.host == \"\"",
		"resource has host && resource.host == \"h1\" && context.deny_count > 1",
		"resource has host && (resource.host == \"h1\" || resource.nope == 1)",
		"resource has host && resource.host == \"h1\" && resource.nope == 1",
		"resource has host && resource.nope == 1 && resource.host == \"h1\"",
		"resource.host == \"h1\"",
		"!(resource has host) && resource.host == \"h1\"",
		"resource has path && resource.host == \"h1\"",
		"resource has host && resource.path == \"h1\"",
		"resource has host && resource.host == 1",
		"resource has host && resource.host == resource.path",
		"resource.method == \"GET\"",
		"(if context.deny_count > 1 then resource else principal).host == \"h1\"",
		"Firma::Resource::\"r1\".host == \"h1\"",
		"Firma::Resource::\"r1\" has path",
		"principal has host",
		"principal.host == \"h1\"",
		"resource.nope == 1", "context.nope == 1", "ip(\"nope\").isLoopback()",
		"context.deny_count > 1",
		"context.session_id == \"s1\" && context.git_ref like \"refs/*\"",
		"context has git_ref && context.git_ref like \"refs/*\"",
		"context == {session_id: \"s1\"}",
		"[context].contains({})",
		"{c: context}.c.deny_count > 1",
		"(if true then context else {deny_count: 9}).deny_count > 1",
		"context.action_count + 9223372036854775807 > 0",
		"context.prior_action_classes.contains(\"code.read\")",
		"context.timestamp_ms > 5 && context.transfer_amount == 0",
		"action in Firma::Action::\"outer\"",
		"action == Firma::Action::\"code.read\"",
		"resource in Firma::Resource::\"r1\"",
		"resource.getTag(\"x\") == 1", "resource.hasTag(\"x\")",
		"Firma::Action::\"inner\" in Firma::Action::\"outer\"",
		"Firma::Agent::\"a2\" has x", "Firma::Agent::\"a2\".x == 1",
	},
}

// everything is the request with nothing left out: the oracle's view.
func everything(r Request, m *model) (types.EntityMap, types.Record) {
	attrs := types.RecordMap{"id": types.String(r.ResourceID)}
	for name, s := range map[types.String]string{"host": r.Host, "path": r.Path, "method": r.Method} {
		if s != "" {
			attrs[name] = types.String(s)
		}
	}
	agent, resource := types.NewEntityUID(agentType, types.String(r.AgentID)), types.NewEntityUID(resourceType, types.String(r.ResourceID))
	entities := types.EntityMap{
		agent:    {UID: agent},
		resource: {UID: resource, Attributes: types.NewRecord(attrs)},
	}
	for uid, e := range m.entities {
		entities[uid] = e
	}
	c := r.Context
	var classes []types.Value
	for _, s := range c.PriorActionClasses {
		classes = append(classes, types.String(s))
	}
	context := types.RecordMap{
		"session_id": types.String(c.SessionID), "timestamp_ms": types.Long(c.Timestamp.UnixMilli()),
		"params": types.String(c.Params), "risk_score": types.Long(c.RiskScore),
		"session_duration_s": types.Long(c.SessionDurationS), "action_count": types.Long(c.ActionCount),
		"raw_transport": types.String(c.RawTransport), "deny_count": types.Long(c.DenyCount),
		"prior_action_classes": types.NewSet(classes...), "last_resource": types.String(c.LastResource),
		"transfer_amount": types.Long(0), "daily_cumulative_amount": types.Long(0), "transfers_last_10m": types.Long(0),
		"same_payee_count_30m": types.Long(0), "session_transfer_count": types.Long(0),
	}
	if g := c.Git; g != nil {
		for name, s := range map[types.String]string{"git_provider": g.Provider, "git_owner": g.Owner, "git_repo": g.Repo,
			"git_ref": g.Ref, "git_ref_type": g.RefType, "git_operation": g.Operation} {
			if s != "" {
				context[name] = types.String(s)
			}
		}
	}
	return entities, types.NewRecord(context)
}

func genRequest(t *rapid.T) Request {
	pick := func(label string, from ...string) string { return rapid.SampledFrom(from).Draw(t, label) }
	r := Request{
		AgentID: pick("agent", "a1", "a2", "a3"), Class: action.Class(pick("class", "code.read", "code.write", "code.merge")),
		ResourceID: pick("resource", "r1", "r2", "r3"), Host: pick("host", "h1", "h2", "h3", ""),
		Path: pick("path", "h1", "/x", ""), Method: pick("method", "GET", ""),
		Context: Context{SessionID: "s1", Timestamp: time.UnixMilli(1700000000123), Params: "{}",
			ActionCount: rapid.Int64Range(0, 2).Draw(t, "count"), DenyCount: rapid.Int64Range(0, 3).Draw(t, "denied")},
	}
	if rapid.Bool().Draw(t, "prior") {
		r.Context.PriorActionClasses = []string{"code.write", "code.read"}
	}
	if rapid.Bool().Draw(t, "git") {
		r.Context.Git = &Git{Provider: "github", Owner: "o", Repo: "r", Ref: "refs/heads/main"}
	}
	return r
}

// said is a diagnostic without its order and positions.
type said struct {
	Decision bool
	Reasons  []string
	Errors   []string
}

func summary(d cedar.Decision, diag cedar.Diagnostic) said {
	s := said{Decision: bool(d)}
	for _, r := range diag.Reasons {
		s.Reasons = append(s.Reasons, string(r.PolicyID))
	}
	for _, e := range diag.Errors {
		s.Errors = append(s.Errors, string(e.PolicyID)+": "+e.Message)
	}
	slices.Sort(s.Reasons)
	slices.Sort(s.Errors)
	return s
}

// TestIndexEqualsFullEvaluation holds the index, the needs and the lazy entities
// against the engine's own evaluation of every policy with every value.
func TestIndexEqualsFullEvaluation(t *testing.T) {
	m, err := modelFor([]byte(groupedSchema))
	if err != nil {
		t.Fatal(err)
	}
	var skipped, kept, allowed, failed int
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		for range rapid.IntRange(1, 40).Draw(t, "policies") {
			text.WriteString(genPolicy(t, wild))
		}
		rules, problems := parse([]byte(text.String()))
		if len(problems) > 0 {
			t.Fatalf("%s\n%v", text.String(), problems)
		}
		b := build("v", m, rules)
		all := cedar.PolicyMap{}
		for _, r := range rules {
			all[r.id] = r.policy
		}
		for range 16 {
			r := genRequest(t)
			entities, context := everything(r, m)
			want := summary(cedar.Authorize(all, entities, cedar.Request{
				Principal: types.NewEntityUID(agentType, types.String(r.AgentID)), Action: m.actions[r.Class],
				Resource: types.NewEntityUID(resourceType, types.String(r.ResourceID)), Context: context,
			}))
			w := newWork(b, &r, b.classes[r.Class])
			got := summary(w.authorize())
			kept += len(w.candidates)
			skipped += len(rules) - len(w.candidates)
			w.release()
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("(-full +indexed)\n%s\nrequest %+v\n%s", diff, r, text.String())
			}
			if want.Decision {
				allowed++
			}
			failed += len(want.Errors)
		}
	})
	if skipped < kept || allowed == 0 || failed == 0 {
		t.Errorf("skipped %d, kept %d, allowed %d, failed %d: the test proves too little", skipped, kept, allowed, failed)
	}
}

// A policy that names another agent, action, resource or host costs nothing.
func TestIndexLeavesOut(t *testing.T) {
	var text strings.Builder
	for i := range 50 {
		fmt.Fprintf(&text, "permit (principal == Firma::Agent::\"x%d\", action, resource);\n", i)
		fmt.Fprintf(&text, "permit (principal, action, resource == Firma::Resource::\"x%d\");\n", i)
		fmt.Fprintf(&text, "forbid (principal is Firma::Agent in Firma::Agent::\"x%d\", action == Firma::Action::\"code.read\", resource);\n", i)
		text.WriteString(Allow(fmt.Sprintf("x%d.example.com", i)))
	}
	text.WriteString("forbid (principal, action in [Firma::Action::\"code.merge\"], resource);\n" + permitAll)
	b := mustCompile(t, text.String())
	r := request()
	for _, class := range []action.Class{"code.read", "communication.external.send"} {
		r.Class = class
		w := newWork(b, &r, b.classes[class])
		if len(w.candidates) != 1 || w.candidates[0].id != "all" {
			t.Errorf("%s: candidates %q", class, ids(w.candidates))
		}
		w.release()
	}
	r.Host = "x7.example.com"
	w := newWork(b, &r, b.classes[r.Class])
	if got := ids(w.candidates); !cmp.Equal(got, []string{"all", "allow:x7.example.com"}) {
		t.Errorf("candidates %q", got)
	}
	w.release()
}

// TestHostTest: only this shape may be indexed. In any other one the policy
// could match another host, or fail on it.
func TestHostTest(t *testing.T) {
	tests := []struct{ conditions, want string }{
		{`when { resource has host && resource.host == "h" }`, "h"},
		{`when { resource has host && "h" == resource.host }`, "h"},
		{`when { resource has host && resource.host == "h" && context.deny_count > 1 }`, "h"},
		{`when { resource has host && (resource.host == "h" && resource.nope) }`, "h"},
		{`when { resource has host && resource.host == "h" } unless { context.deny_count > 1 }`, "h"},
		{`unless { resource has host && resource.host == "h" }`, ""},
		{`when { true } when { resource has host && resource.host == "h" }`, ""},
		{`when { context.deny_count > 1 && resource has host && resource.host == "h" }`, ""},
		{`when { resource has path && resource.host == "h" }`, ""},
		{`when { resource has host && resource.path == "h" }`, ""},
		{`when { principal has host && resource.host == "h" }`, ""},
		{`when { resource has host && principal.host == "h" }`, ""},
		{`when { resource has host && resource.host != "h" }`, ""},
		{`when { resource has host && resource.host like "h" }`, ""},
		{`when { resource has host && resource.host == 5 }`, ""},
		{`when { resource has host && resource.host == resource.path }`, ""},
		{`when { resource has host && "h" == "h" }`, ""},
		{`when { resource has host || resource.host == "h" }`, ""},
		{`when { resource has host && resource.host == "h" || true }`, ""},
		{`when { resource has host && (resource.host == "h" || true) }`, ""},
		{`when { !(resource has host && resource.host == "h") }`, ""},
		{`when { resource.host == "h" }`, ""},
		{`when { resource has host }`, ""},
		{``, ""},
	}
	for _, tt := range tests {
		rules, problems := parse([]byte("permit (principal, action, resource) " + tt.conditions + ";"))
		if len(problems) > 0 {
			t.Fatalf("%s: %v", tt.conditions, problems)
		}
		if got, ok := hostTest(rules[0].tree().Conditions); got != tt.want || ok != (tt.want != "") {
			t.Errorf("%s: %q, %t", tt.conditions, got, ok)
		}
	}
}
