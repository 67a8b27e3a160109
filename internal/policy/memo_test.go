package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestRememberedEqualsDecided holds what is remembered against a decision of its
// own for every request.
func TestRememberedEqualsDecided(t *testing.T) {
	m, err := modelFor([]byte(groupedSchema))
	if err != nil {
		t.Fatal(err)
	}
	var asked, kept, bypassed int
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		for range rapid.IntRange(1, 6).Draw(t, "policies") {
			text.WriteString(genPolicy(t, wild))
		}
		rules, problems := parse([]byte(text.String()))
		if len(problems) > 0 {
			t.Fatalf("%s\n%v", text.String(), problems)
		}
		b := build("v", m, rules)
		for range 40 {
			r := genRequest(t)
			target := b.classes[r.Class]
			asked++
			if target.reads.context&passing != 0 {
				bypassed++
			}
			want := b.byCount(&r, target, b.decide(&r, target))
			for range 2 {
				if diff := cmp.Diff(want, b.Evaluate(r)); diff != "" {
					t.Fatalf("(-decided +remembered)\n%s\nrequest %+v\n%s", diff, r, text.String())
				}
			}
		}
		kept += len(b.memo.answers)
	})
	if kept == 0 || kept >= asked-bypassed || bypassed == 0 {
		t.Errorf("%d asked, %d kept, %d not to be remembered: the test proves too little", asked, kept, bypassed)
	}
}

func TestMemoIsBounded(t *testing.T) {
	b := mustCompile(t, permitAll)
	r := request()
	for i := range 3 * maxMemo {
		r.Path = fmt.Sprint("/", i)
		b.Evaluate(r)
		if n := len(b.memo.answers); n > maxMemo {
			t.Fatalf("%d answers are kept", n)
		}
	}
	before := len(b.memo.answers)
	r.Path = "/" + strings.Repeat("x", maxMemoKey)
	if res := b.Evaluate(r); !res.Outcome.Dispatches() {
		t.Errorf("%+v", res)
	}
	if len(b.memo.answers) != before {
		t.Error("a question longer than maxMemoKey is remembered")
	}
}

// An answer that names a whole bundle is as large as that: a thousand of them are
// not kept.
func TestLargeAnswersAreNotKept(t *testing.T) {
	b := mustCompile(t, strings.Repeat("permit (principal, action, resource);\n", maxNamed+1))
	if res := b.Evaluate(request()); !res.Outcome.Dispatches() || len(res.Policies) != maxNamed+1 {
		t.Errorf("%+v", res)
	}
	if len(b.memo.answers) > 0 {
		t.Error("it is kept")
	}
}

// Each value that a policy can read, read in several ways, tells two questions
// apart that differ in nothing else.
func TestEveryValueTellsQuestionsApart(t *testing.T) {
	values := map[string]func(*Request) any{"host": func(r *Request) any { return &r.Host }, "path": func(r *Request) any { return &r.Path },
		"method": func(r *Request) any { return &r.Method }, "id": func(r *Request) any { return &r.ResourceID }}
	for name, change := range values {
		differ(t, name, []string{fmt.Sprintf("resource has %s && resource.%[1]s == %%s", name),
			fmt.Sprintf("(if true then resource else resource) has %s && (if true then resource else resource).%[1]s == %%s", name)}, change)
	}
	g := func(f func(*Git) *string) func(*Request) any { return func(r *Request) any { return f(r.Context.Git) } }
	fields := map[string]func(*Request) any{
		"session_id": func(r *Request) any { return &r.Context.SessionID }, "params": func(r *Request) any { return &r.Context.Params },
		"raw_transport":           func(r *Request) any { return &r.Context.RawTransport },
		"last_resource":           func(r *Request) any { return &r.Context.LastResource },
		"risk_score":              func(r *Request) any { return &r.Context.RiskScore },
		"session_duration_s":      func(r *Request) any { return &r.Context.SessionDurationS },
		"action_count":            func(r *Request) any { return &r.Context.ActionCount },
		"deny_count":              func(r *Request) any { return &r.Context.DenyCount },
		"transfer_amount":         func(r *Request) any { return &r.Context.TransferAmount },
		"daily_cumulative_amount": func(r *Request) any { return &r.Context.DailyCumulativeAmount },
		"transfers_last_10m":      func(r *Request) any { return &r.Context.TransfersLast10m },
		"same_payee_count_30m":    func(r *Request) any { return &r.Context.SamePayeeCount30m },
		"session_transfer_count":  func(r *Request) any { return &r.Context.SessionTransferCount },
		"timestamp_ms":            func(r *Request) any { return &r.Context.Timestamp },
		"prior_action_classes":    func(r *Request) any { return &r.Context.PriorActionClasses },
		"git_provider":            g(func(g *Git) *string { return &g.Provider }), "git_owner": g(func(g *Git) *string { return &g.Owner }),
		"git_repo": g(func(g *Git) *string { return &g.Repo }), "git_ref": g(func(g *Git) *string { return &g.Ref }),
		"git_ref_type": g(func(g *Git) *string { return &g.RefType }), "git_operation": g(func(g *Git) *string { return &g.Operation }),
	}
	for i := range contextFields {
		name := contextFields[i].name
		change := fields[name]
		if change == nil {
			t.Errorf("nothing here changes %s", name)
			continue
		}
		var ways []string
		for _, way := range []string{"context has %s && context.%[1]s == %%s", "context has %s && context[\"%[1]s\"] == %%s",
			"context has %s && {c: context}.c.%[1]s == %%s", "context has %s && [context.%[1]s].contains(%%s)",
			"context has %s && !(if context.%[1]s == %%[1]s then false else true)"} {
			ways = append(ways, fmt.Sprintf(way, name))
		}
		differ(t, name, ways, change)
	}
	differ(t, "agent", []string{"principal == Firma::Agent::%s", "principal in Firma::Agent::%s", "[principal].contains(Firma::Agent::%s)"},
		func(r *Request) any { return &r.AgentID })
}

// differ asks a bundle that permits one value for that, another and that again.
func differ(t *testing.T, name string, ways []string, field func(*Request) any) {
	t.Helper()
	for _, way := range ways {
		one, other := request(), request()
		one.Context.Git, other.Context.Git = &Git{}, &Git{}
		var literal string
		switch p := field(&one).(type) {
		case *string:
			*p, literal = "/one", `"/one"`
			*field(&other).(*string) = "/other"
		case *int64:
			*p, literal = 7, "7"
			*field(&other).(*int64) = 8
		case *[]string:
			*p, literal = []string{"one"}, `["one"]`
			*field(&other).(*[]string) = []string{"other"}
		case *time.Time:
			*p, literal = time.UnixMilli(7), "7"
			*field(&other).(*time.Time) = time.UnixMilli(8)
		}
		text := fmt.Sprintf("permit (principal, action, resource) when { "+way+" };", literal)
		m, err := modelFor(nil)
		if err != nil {
			t.Fatal(err)
		}
		rules, problems := parse([]byte(text))
		if len(problems) > 0 {
			t.Fatal(text, problems)
		}
		b := build("v", m, rules)
		for range 2 {
			if res := b.Evaluate(one); !res.Outcome.Dispatches() {
				t.Errorf("%s: %s: %+v", name, text, res)
			}
			if res := b.Evaluate(other); res.Outcome.Dispatches() {
				t.Errorf("%s: %s: the answer to another question", name, text)
			}
		}
	}
}

// Values that are written after one another must not run into each other.
func TestQuestionsAreApart(t *testing.T) {
	var a, b question
	a.request, b.request = request(), request()
	a.request.Host, a.request.Path = "ab", "c"
	b.request.Host, b.request.Path = "a", "bc"
	a.ask(allContext)
	b.ask(allContext)
	if string(a.key) == string(b.key) {
		t.Error("two questions have one key")
	}
}
