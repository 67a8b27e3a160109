package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gowebpki/jcs"
	"pgregory.net/rapid"

	"firma/internal/verdict"
)

// fullRequest has a value of its own in every field.
func fullRequest() Request {
	r := request()
	r.Context = Context{
		SessionID: "sess", Timestamp: time.UnixMilli(42), Params: `{"a":1}`, RawTransport: "connect", LastResource: "h/p",
		RiskScore: 3, SessionDurationS: 61, ActionCount: 7, DenyCount: 2,
		PriorActionClasses: []string{"issue.read", "code.read", "issue.read"},
		TransferAmount:     11, DailyCumulativeAmount: 12, TransfersLast10m: 13, SamePayeeCount30m: 14, SessionTransferCount: 15,
		Git: &Git{Provider: "github", Owner: "acme", Repo: "tool", Ref: "refs/heads/main", RefType: "branch", Operation: "write"},
	}
	return r
}

func TestPoliciesSeeEveryValue(t *testing.T) {
	conditions := []string{
		`context.session_id == "sess"`, `context.timestamp_ms == 42`, `context.params == "{\"a\":1}"`,
		`context.risk_score == 3`, `context.session_duration_s == 61`, `context.action_count == 7`,
		`context.raw_transport == "connect"`, `context.deny_count == 2`,
		`context.prior_action_classes == ["code.read", "issue.read"]`, `context.last_resource == "h/p"`,
		`context.transfer_amount == 11`, `context.daily_cumulative_amount == 12`, `context.transfers_last_10m == 13`,
		`context.same_payee_count_30m == 14`, `context.session_transfer_count == 15`,
		`context has git_provider && context.git_provider == "github"`, `context has git_owner && context.git_owner == "acme"`,
		`context has git_repo && context.git_repo == "tool"`, `context has git_ref && context.git_ref == "refs/heads/main"`,
		`context has git_ref_type && context.git_ref_type == "branch"`, `context has git_operation && context.git_operation == "write"`,
		`resource.id == "api.github.com/repos/o/r"`, `resource has host && resource.host == "api.github.com"`,
		`resource has path && resource.path == "/repos/o/r"`, `resource has method && resource.method == "GET"`,
		`principal == Firma::Agent::"a1"`, `action == Firma::Action::"code.read"`, `resource == Firma::Resource::"api.github.com/repos/o/r"`,
	}
	for _, c := range conditions {
		// On resources of this type only: the schema's other one has no id.
		b := mustCompile(t, "permit (principal, action, resource is Firma::Resource) when { "+c+" };")
		if got := b.Evaluate(fullRequest()); got.Outcome != verdict.Allow {
			t.Errorf("%s: %+v", c, got)
		}
	}
	all := "permit (principal, action, resource is Firma::Resource) when { (" + strings.Join(conditions, ") && (") + ") };"
	if got := mustCompile(t, all).Evaluate(fullRequest()); got.Outcome != verdict.Allow {
		t.Errorf("all together: %+v", got)
	}
}

func TestUnboundValues(t *testing.T) {
	r := request()
	r.Host, r.Path, r.Method = "", "", ""
	for _, c := range []string{"resource has host", "resource has path", "resource has method", "context has git_ref", "context has git_provider"} {
		b := mustCompile(t, "permit (principal, action, resource) when { "+c+" };")
		if got := b.Evaluate(r); got.Outcome != verdict.Deny {
			t.Errorf("%s is bound: %+v", c, got)
		}
	}
}

// TestContextHashVector pins the format: whoever recomputes a hash from an audit
// log needs it to stay.
func TestContextHashVector(t *testing.T) {
	const canonical = `{"action_count":7,"daily_cumulative_amount":12,"deny_count":2,"git_operation":"write","git_owner":"acme",` +
		`"git_provider":"github","git_ref":"refs/heads/main","git_ref_type":"branch","git_repo":"tool","last_resource":"h/p",` +
		`"params":"{\"a\":1}","prior_action_classes":["code.read","issue.read"],"raw_transport":"connect","risk_score":3,` +
		`"same_payee_count_30m":14,"session_duration_s":61,"session_id":"sess","session_transfer_count":15,"timestamp_ms":42,` +
		`"transfer_amount":11,"transfers_last_10m":13}`
	sum := sha256.Sum256([]byte(canonical))
	var b *Bundle
	if got, want := b.ContextHash(fullRequest()), hex.EncodeToString(sum[:]); got != want {
		t.Errorf("hash %s, want %s", got, want)
	}
}

// TestContextHashIsJCS compares with an independent implementation of RFC 8785.
func TestContextHashIsJCS(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.RuneFrom(append([]rune("ab\"\\/\b\f\n\r\t\x00\x1f\x7f é\u2028\U0001F600"), 0xFFFD)))
		small := rapid.Int64Range(-1<<53, 1<<53) // JCS numbers are doubles
		r := Request{Context: Context{
			SessionID: text.Draw(t, "session"), Timestamp: time.UnixMilli(small.Draw(t, "ms")), Params: text.Draw(t, "params"),
			RawTransport: text.Draw(t, "transport"), LastResource: text.Draw(t, "last"),
			RiskScore: small.Draw(t, "risk"), SessionDurationS: small.Draw(t, "duration"),
			ActionCount: small.Draw(t, "actions"), DenyCount: small.Draw(t, "denied"),
			PriorActionClasses: rapid.SliceOf(text).Draw(t, "prior"),
		}}
		if rapid.Bool().Draw(t, "git") {
			r.Context.Git = &Git{Provider: text.Draw(t, "provider"), Ref: text.Draw(t, "ref")}
		}
		prior := slices.Clone(r.Context.PriorActionClasses)
		plain, err := json.Marshal(asMap(r.Context))
		if err != nil {
			t.Fatal(err)
		}
		canonical, err := jcs.Transform(plain)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(canonical)
		var b *Bundle
		if got, want := b.ContextHash(r), hex.EncodeToString(sum[:]); got != want {
			h := &hashing{}
			t.Fatalf("hash %s, want %s\ngot  %s\nwant %s", got, want, h.appendContext(nil, &r.Context), canonical)
		}
		if !slices.Equal(prior, r.Context.PriorActionClasses) {
			t.Fatal("the caller's classes were reordered")
		}
	})
}

func asMap(c Context) map[string]any {
	prior := slices.Clone(c.PriorActionClasses)
	slices.Sort(prior)
	prior = slices.Compact(prior)
	if prior == nil {
		prior = []string{}
	}
	m := map[string]any{
		"session_id": c.SessionID, "timestamp_ms": c.Timestamp.UnixMilli(), "params": c.Params,
		"risk_score": c.RiskScore, "session_duration_s": c.SessionDurationS, "action_count": c.ActionCount,
		"raw_transport": c.RawTransport, "deny_count": c.DenyCount, "prior_action_classes": prior, "last_resource": c.LastResource,
		"transfer_amount": 0, "daily_cumulative_amount": 0, "transfers_last_10m": 0, "same_payee_count_30m": 0, "session_transfer_count": 0,
	}
	if c.Git != nil {
		for k, v := range map[string]string{"git_provider": c.Git.Provider, "git_ref": c.Git.Ref} {
			if v != "" {
				m[k] = v
			}
		}
	}
	return m
}

// Strings that are not UTF-8 can't be told from their repaired form; they must
// still hash, and to valid JSON.
func TestContextHashOfBadText(t *testing.T) {
	h := &hashing{}
	got := h.appendContext(nil, &Context{SessionID: "a\xff\xc0b", Timestamp: time.UnixMilli(0)})
	if !json.Valid(got) || !strings.Contains(string(got), "a\ufffd\ufffdb") {
		t.Errorf("%q", got)
	}
}

// A hash must change with each value of the context and with nothing else.
func TestContextHashCoversEveryField(t *testing.T) {
	var b *Bundle
	seen := map[string]string{b.ContextHash(fullRequest()): "nothing"}
	changes := map[string]func(*Context){
		"session": func(c *Context) { c.SessionID += "x" }, "time": func(c *Context) { c.Timestamp = c.Timestamp.Add(time.Millisecond) },
		"params": func(c *Context) { c.Params = "" }, "transport": func(c *Context) { c.RawTransport = "" }, "last": func(c *Context) { c.LastResource = "" },
		"risk": func(c *Context) { c.RiskScore++ }, "duration": func(c *Context) { c.SessionDurationS++ }, "actions": func(c *Context) { c.ActionCount++ },
		"denied": func(c *Context) { c.DenyCount++ }, "prior": func(c *Context) { c.PriorActionClasses = nil }, "git": func(c *Context) { c.Git = nil },
		"amount": func(c *Context) { c.TransferAmount++ }, "day": func(c *Context) { c.DailyCumulativeAmount++ }, "ten minutes": func(c *Context) { c.TransfersLast10m++ },
		"payee": func(c *Context) { c.SamePayeeCount30m++ }, "transfers": func(c *Context) { c.SessionTransferCount++ },
	}
	for name, change := range changes {
		r := fullRequest()
		change(&r.Context)
		sum := b.ContextHash(r)
		if other, ok := seen[sum]; ok {
			t.Errorf("changing %s gives the hash of changing %s", name, other)
		}
		seen[sum] = name
	}
	same := map[string]func(*Request){
		"agent": func(r *Request) { r.AgentID = "other" }, "zone": func(r *Request) { r.Context.Timestamp = r.Context.Timestamp.UTC() },
		"order of classes": func(r *Request) { r.Context.PriorActionClasses = []string{"code.read", "issue.read"} },
	}
	for name, change := range same {
		r := fullRequest()
		change(&r)
		if got := seen[b.ContextHash(r)]; got != "nothing" {
			t.Errorf("changing the %s changes the hash (%s)", name, fmt.Sprint(got))
		}
	}
}
