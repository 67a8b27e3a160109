package policy

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firma/internal/fault"
	"firma/internal/verdict"
)

func mustCompile(t testing.TB, texts ...string) *Bundle {
	t.Helper()
	b, err := Compile("v1", []byte(strings.Join(texts, "\n")), nil)
	if err != nil {
		t.Fatalf("Compile: %v", err)
	}
	return b
}

func request() Request {
	return Request{
		AgentID: "a1", Class: "code.read", ResourceID: "api.github.com/repos/o/r",
		Host: "api.github.com", Path: "/repos/o/r", Method: "GET",
		Context: Context{SessionID: "s1", Timestamp: time.UnixMilli(1700000000123), Params: "{}", RawTransport: "https", ActionCount: 1},
	}
}

const (
	permitAll = "@id(\"all\") permit (principal, action, resource);\n"
	// overflows fails at run time and not before: no schema bounds a Long.
	overflows = "when { context.action_count + 9223372036854775807 > 0 }"
)

func TestEvaluateOutcomes(t *testing.T) {
	step := "@id(\"step\") @step_up(\"Ask Dana first\") forbid (principal, action, resource);\n"
	wait := "@id(\"wait\") @defer(\"1500\") forbid (principal, action, resource);\n"
	redact := "@id(\"redact\") @modify(\"redact_header:X-Debug\") forbid (principal, action, resource);\n"
	hard := "@id(\"hard\") forbid (principal, action, resource);\n"
	tests := []struct {
		name, text string
		want       Result
	}{
		{"no policy", "", Result{Outcome: verdict.Deny, Reason: verdict.PolicyDenied,
			Detail: "no policy permits code.read on this resource"}},
		{"permit", permitAll, Result{Outcome: verdict.Allow, Policies: []string{"all"}}},
		{"forbid wins", permitAll + hard, Result{Outcome: verdict.Deny, Reason: verdict.PolicyDenied,
			Detail: `forbidden by policy "hard"`, Policies: []string{"hard"}}},
		{"default id counts policies", "permit (principal, action == Firma::Action::\"repo.admin\", resource); permit (principal, action, resource);",
			Result{Outcome: verdict.Allow, Policies: []string{"policy1"}}},
		{"ids are sorted", "@id(\"b\") permit (principal, action, resource); @id(\"a\") permit (principal, action, resource);",
			Result{Outcome: verdict.Allow, Policies: []string{"a", "b"}}},
		{"step up", permitAll + step, Result{Outcome: verdict.StepUp, Reason: verdict.StepUpRequired,
			Detail: "Ask Dana first", Policies: []string{"step"}}},
		{"defer", permitAll + wait, Result{Outcome: verdict.Defer, Reason: verdict.Deferred,
			Detail: "retry_after_ms: 1500", Policies: []string{"wait"}, RetryAfter: 1500 * time.Millisecond}},
		{"modify", permitAll + redact, Result{Outcome: verdict.Modify,
			Detail: "redacted_header:x-debug", Policies: []string{"redact"}, RedactHeaders: []string{"x-debug"}}},
		{"step up before defer and modify", permitAll + redact + wait + step, Result{Outcome: verdict.StepUp, Reason: verdict.StepUpRequired,
			Detail: "Ask Dana first", Policies: []string{"step"}}},
		{"defer before modify", permitAll + redact + wait, Result{Outcome: verdict.Defer, Reason: verdict.Deferred,
			Detail: "retry_after_ms: 1500", Policies: []string{"wait"}, RetryAfter: 1500 * time.Millisecond}},
		{"a plain forbid beats every remedy", permitAll + step + redact + hard, Result{Outcome: verdict.Deny, Reason: verdict.PolicyDenied,
			Detail: `forbidden by policy "hard"`, Policies: []string{"hard"}}},
		{"a remedy permits nothing", redact, Result{Outcome: verdict.Deny, Reason: verdict.PolicyDenied,
			Detail: "no policy permits code.read on this resource, and a policy forbids it", Policies: []string{"redact"}}},
		{"the longest delay", permitAll + wait + "@id(\"w2\") @defer(\"2000\") forbid (principal, action, resource);",
			Result{Outcome: verdict.Defer, Reason: verdict.Deferred, Detail: "retry_after_ms: 2000",
				Policies: []string{"w2", "wait"}, RetryAfter: 2 * time.Second}},
		{"every header once", permitAll + redact +
			"@id(\"r2\") @modify(\"redact_header:x-debug\") forbid (principal, action, resource);" +
			"@id(\"r3\") @modify(\"redact_header:Cookie\") forbid (principal, action, resource);",
			Result{Outcome: verdict.Modify, Detail: "redacted_header:cookie,redacted_header:x-debug",
				Policies: []string{"r2", "r3", "redact"}, RedactHeaders: []string{"cookie", "x-debug"}}},
		{"every challenge", permitAll + step + "@id(\"s2\") @step_up(\"And Kim\") forbid (principal, action, resource);",
			Result{Outcome: verdict.StepUp, Reason: verdict.StepUpRequired, Detail: "And Kim; Ask Dana first", Policies: []string{"s2", "step"}}},
		{"a forbid that fails denies", permitAll + "@id(\"sum\") forbid (principal, action, resource) " + overflows + ";",
			Result{Outcome: verdict.Deny, Reason: verdict.PolicyDenied, Detail: `policy "sum" could not be evaluated`, Policies: []string{"sum"}}},
		{"an annotated forbid that fails denies", permitAll + "@id(\"sum\") @step_up(\"x\") forbid (principal, action, resource) " + overflows + ";",
			Result{Outcome: verdict.Deny, Reason: verdict.PolicyDenied, Detail: `policy "sum" could not be evaluated`, Policies: []string{"sum"}}},
		{"a failing forbid beats a remedy", permitAll + step + "@id(\"sum\") forbid (principal, action, resource) " + overflows + ";",
			Result{Outcome: verdict.Deny, Reason: verdict.PolicyDenied, Detail: `policy "sum" could not be evaluated`, Policies: []string{"sum"}}},
		{"a permit that fails is skipped", permitAll + "@id(\"sum\") permit (principal, action, resource) " + overflows + ";",
			Result{Outcome: verdict.Allow, Policies: []string{"all"}}},
		{"a permit that fails permits nothing", "@id(\"sum\") permit (principal, action, resource) " + overflows + ";",
			Result{Outcome: verdict.Deny, Reason: verdict.PolicyDenied, Detail: "no policy permits code.read on this resource"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := mustCompile(t, tt.text).Evaluate(request())
			failing := strings.Contains(tt.text, overflows)
			if failing != (len(got.Errors) == 1 && strings.HasPrefix(got.Errors[0], "sum: ")) {
				t.Errorf("Errors = %q", got.Errors)
			}
			got.Errors = nil
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestEvaluateRefusesWhatItDoesNotKnow(t *testing.T) {
	b := mustCompile(t, permitAll)
	tests := []struct {
		name   string
		bundle *Bundle
		change func(*Request)
		want   verdict.Reason
	}{
		{"nil bundle", nil, func(*Request) {}, verdict.PolicyBundleNotReady},
		{"zero bundle", &Bundle{}, func(*Request) {}, verdict.PolicyBundleNotReady},
		{"unknown class", b, func(r *Request) { r.Class = "code.reed" }, verdict.PolicyDenied},
		{"no class", b, func(r *Request) { r.Class = "" }, verdict.PolicyDenied},
		{"an action that is not about resources", b, func(r *Request) { r.Class = "secret.mediate" }, verdict.PolicyDenied},
		{"no agent", b, func(r *Request) { r.AgentID = "" }, verdict.PolicyDenied},
		{"no resource", b, func(r *Request) { r.ResourceID = "" }, verdict.PolicyDenied},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := request()
			tt.change(&r)
			if got := tt.bundle.Evaluate(r); got.Outcome != verdict.Deny || got.Reason != tt.want {
				t.Errorf("got %v %s (%s), want a DENY with %s", got.Outcome, got.Reason, got.Detail, tt.want)
			}
		})
	}
	if got := b.Evaluate(request()); got.Outcome != verdict.Allow {
		t.Errorf("the bundle of this test denies everything: %v", got)
	}
}

// Details go to the agent: they must not carry what a request holds.
func TestDetailHoldsNoRequestValues(t *testing.T) {
	r := request()
	r.Context.Params = "{\"password\":\"hunter2\"}"
	b := mustCompile(t, "@id(\"f\") forbid (principal, action, resource) when { context.params == \"x\" || context.action_count + 9223372036854775807 > 0 };")
	got := b.Evaluate(r)
	if got.Outcome != verdict.Deny || strings.Contains(got.Detail, "hunter2") || strings.Contains(got.Detail, "overflow") {
		t.Errorf("got %+v", got)
	}
}

func TestCompileErrors(t *testing.T) {
	tests := []struct {
		name, text string
		want       []Problem // Text is a part of the message
	}{
		{"syntax", "permit (principal, action, resource)\nwhen { 1 };\npermit (principal action, resource);",
			[]Problem{{"", 3, 19, "", `expected "," and found "action"`}}},
		{"end of text", "permit (principal, action, resource)\n",
			[]Problem{{"", 2, 1, "", `expected ";" and found the end of the text`}}},
		{"unknown action", "permit (principal, action == Firma::Action::\"code.reed\", resource);",
			[]Problem{{"", 1, 1, "policy0", "code.reed"}}},
		{"unknown entity type", "\n  @id(\"x\")\npermit (principal == User::\"u\", action, resource);",
			[]Problem{{"", 2, 3, "x", "User"}}},
		{"unknown context attribute", "permit (principal, action, resource) when { context.amount > 5 };",
			[]Problem{{"", 1, 1, "policy0", "amount"}}},
		{"params is text, not a record", "permit (principal, action, resource) when { context.params.amount > 5 };",
			[]Problem{{"", 1, 1, "policy0", "String"}}},
		{"wrong type", "permit (principal, action, resource) when { context.deny_count == \"3\" };",
			[]Problem{{"", 1, 1, "policy0", "not compatible"}}},
		{"optional attribute without a guard", "permit (principal, action, resource is Firma::Resource) when { resource.host == \"x\" };",
			[]Problem{{"", 1, 1, "policy0", "`… has ATTRIBUTE && …`"}}},
		{"template", "permit (principal == ?principal, action, resource);",
			[]Problem{{"", 1, 23, "", "expected ident"}}},
		{"same id twice", "@id(\"x\") permit (principal, action, resource);\n@id(\"x\") forbid (principal, action, resource);",
			[]Problem{{"", 2, 1, "x", "twice"}}},
		{"an @id that collides with a counted one", "@id(\"policy1\") permit (principal, action, resource);\nforbid (principal, action, resource);",
			[]Problem{{"", 2, 1, "policy1", "twice"}}},
		{"empty id", "@id(\"\") permit (principal, action, resource);", []Problem{{"", 1, 1, "", "@id"}}},
		{"control character in id", "@id(\"a\\nb\") permit (principal, action, resource);", []Problem{{"", 1, 1, "a\nb", "@id"}}},
		{"remedy on a permit", "@step_up(\"x\") permit (principal, action, resource);", []Problem{{"", 1, 1, "policy0", "forbid only"}}},
		{"two remedies", "@step_up(\"x\") @defer(\"5\") forbid (principal, action, resource);", []Problem{{"", 1, 1, "policy0", "at most one"}}},
		{"empty challenge", "@step_up(\" \") forbid (principal, action, resource);", []Problem{{"", 1, 1, "policy0", "@step_up"}}},
		{"challenge without a text", "@step_up forbid (principal, action, resource);", []Problem{{"", 1, 1, "policy0", "@step_up"}}},
		{"line break in a challenge", "@step_up(\"a\\nb\") forbid (principal, action, resource);", []Problem{{"", 1, 1, "policy0", "@step_up"}}},
		{"defer zero", "@defer(\"0\") forbid (principal, action, resource);", []Problem{{"", 1, 1, "policy0", "@defer"}}},
		{"defer negative", "@defer(\"-5\") forbid (principal, action, resource);", []Problem{{"", 1, 1, "policy0", "@defer"}}},
		{"defer with a unit", "@defer(\"5s\") forbid (principal, action, resource);", []Problem{{"", 1, 1, "policy0", "@defer"}}},
		{"defer for ever", "@defer(\"9999999999999999999\") forbid (principal, action, resource);", []Problem{{"", 1, 1, "policy0", "@defer"}}},
		{"modify something else", "@modify(\"set_header:x\") forbid (principal, action, resource);", []Problem{{"", 1, 1, "policy0", "@modify"}}},
		{"modify without a name", "@modify(\"redact_header:\") forbid (principal, action, resource);", []Problem{{"", 1, 1, "policy0", "@modify"}}},
		{"modify two names", "@modify(\"redact_header:a,b c\") forbid (principal, action, resource);", []Problem{{"", 1, 1, "policy0", "@modify"}}},
		{"modify the framing", "@modify(\"redact_header:Content-Length\") forbid (principal, action, resource);", []Problem{{"", 1, 1, "policy0", "content-length"}}},
		{"every policy's problem, in order", "@defer(\"x\") forbid (principal, action, resource);\npermit (principal, action, resource) when { context.nope };",
			[]Problem{{"", 1, 1, "policy0", "@defer"}, {"", 2, 1, "policy1", "nope"}}},
		{"columns count characters", "/* ä */ permit (principal, action, resource) when { \"é\" };",
			[]Problem{{"", 1, 9, "policy0", "Bool"}}},
		{"files", string(Join([]File{{"a.cedar", []byte("// nothing")}, {"b.cedar", []byte("\npermit (principal, action, resource) when { context.nope };\n")}, {"c.cedar", []byte("@defer(\"x\") forbid (principal, action, resource);")}})),
			[]Problem{{"b.cedar", 2, 1, "policy0", "nope"}, {"c.cedar", 1, 1, "policy1", "@defer"}}},
		{"end of a file", string(Join([]File{{"a.cedar", []byte("permit (principal, action, resource)\n")}, {"b\n.cedar", nil}})),
			[]Problem{{"b?.cedar", 1, 1, "", "the end of the text"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := Compile("v", []byte(tt.text), nil)
			var got *Error
			if b != nil || fault.NameOf(err) != "PolicyInvalid" || !errors.As(err, &got) {
				t.Fatalf("Compile = %v, %v", b, err)
			}
			if len(got.Problems) != len(tt.want) {
				t.Fatalf("problems:\n%v\nwant %d", got, len(tt.want))
			}
			for i, want := range tt.want {
				p := got.Problems[i]
				if p.File != want.File || p.Line != want.Line || p.Col != want.Col || p.Policy != want.Policy || !strings.Contains(p.Text, want.Text) {
					t.Errorf("problem %d = %q (%d:%d), want %d:%d %q about %q", i, p, p.Line, p.Col, want.Line, want.Col, want.Policy, want.Text)
				}
				if strings.Contains(p.Text, "<input>") {
					t.Errorf("problem names no file: %q", p.Text)
				}
			}
		})
	}
}

// Without the limits each of these would exhaust the stack or the memory.
func TestCompileLimits(t *testing.T) {
	in := func(expr string) string { return "permit (principal, action, resource) when { " + expr + " };" }
	tests := map[string]string{
		"brackets":          in(strings.Repeat("(", 100_000) + "true" + strings.Repeat(")", 100_000)),
		"sets":              in(strings.Repeat("[", 100_000)),
		"brackets in a row": in(strings.Repeat("(", 65)),
		"a long policy":     in("true" + strings.Repeat(" || true", 50_000)),
		"negations":         in(strings.Repeat("!", 70_000) + "true"),
		"a chain":           in("context has a" + strings.Repeat(".a", 5_000)),
		"a spaced chain":    in("context has a" + strings.Repeat(" . /**/ a", 40)),
		"a big bundle":      strings.Repeat("permit (principal, action, resource);\n", maxText/37),
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := Compile("v", []byte(text), nil); fault.NameOf(err) != "PolicyInvalid" {
				t.Errorf("err = %.200v", err)
			}
		})
	}
	fine := map[string]string{
		"brackets in strings":  in(`context.params == "` + strings.Repeat("([{", 100) + `"`),
		"brackets in comments": "// " + strings.Repeat("(", 100) + "\n/* " + strings.Repeat("[", 100) + " */" + permitAll,
		"dots in strings":      in(`context.params == "` + strings.Repeat(".", 100) + `\"` + strings.Repeat(".", 100) + `"`),
		"many short policies":  strings.Repeat("permit (principal, action, resource);\n", 3000),
		"a long list":          in("[" + strings.Repeat("\"host.example.com\", ", 1000) + "\"x\"].contains(context.params)"),
	}
	for name, text := range fine {
		t.Run(name, func(t *testing.T) {
			if _, err := Compile("v", []byte(text), nil); err != nil {
				t.Errorf("err = %.200v", err)
			}
		})
	}
}

func TestCompileWithAnotherSchema(t *testing.T) {
	text := `namespace Firma {
  entity Agent;
  entity Resource { id: String };
  action "reading";
  action "everything";
  action "code.read" in ["reading"] appliesTo { principal: [Agent], resource: [Resource], context: { deny_count: Long } };
  action "code.write" appliesTo { principal: [Agent], resource: [Resource], context: { deny_count: Long } };
}`
	b, err := Compile("v", []byte(`permit (principal, action in Firma::Action::"reading", resource) when { context.deny_count == 0 };`), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	r := request()
	if got := b.Evaluate(r); got.Outcome != verdict.Allow {
		t.Errorf("an action of the group: %+v", got)
	}
	r.Class = "code.write"
	if got := b.Evaluate(r); got.Outcome != verdict.Deny {
		t.Errorf("an action outside the group: %+v", got)
	}
	r.Class = "code.merge"
	if got := b.Evaluate(r); got.Outcome != verdict.Deny || !strings.Contains(got.Detail, "schema") {
		t.Errorf("an action the schema lacks: %+v", got)
	}
	for _, bad := range []string{"namespace {", "entity A in [B];", strings.Repeat("{", 1000), "namespace Firma { action \"x\" appliesTo { principal: [No], resource: [No] }; }"} {
		if _, err := Compile("v", nil, []byte(bad)); fault.NameOf(err) != "PolicyInvalid" || !strings.Contains(err.Error(), "schema: ") {
			t.Errorf("schema %.40q: %v", bad, err)
		}
	}
}

func TestEmptyBundleDenies(t *testing.T) {
	for _, text := range []string{"", "// nothing\n"} {
		b := mustCompile(t, text)
		if got := b.Evaluate(request()); got.Outcome != verdict.Deny || b.Len() != 0 || b.Version() != "v1" {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestEvaluateConcurrently(t *testing.T) {
	b := mustCompile(t, permitAll, "@id(\"f\") forbid (principal == Firma::Agent::\"a2\", action, resource) when { context.prior_action_classes.contains(\"repo.admin\") };")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			r, want := request(), verdict.Allow
			r.Context.PriorActionClasses = []string{"repo.admin", "code.read"}
			if i%2 == 0 {
				r.AgentID, want = "a2", verdict.Deny
			}
			for range 500 {
				if got := b.Evaluate(r); got.Outcome != want {
					t.Errorf("agent %s: %+v", r.AgentID, got)
					return
				}
				_ = b.ContextHash(r)
			}
			if !slices.Equal(r.Context.PriorActionClasses, []string{"repo.admin", "code.read"}) {
				t.Error("the request was changed")
			}
		})
	}
	wg.Wait()
}
