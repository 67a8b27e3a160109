package issue

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"firma/internal/action"
	"firma/internal/authority/keys"
	"firma/internal/capability"
	"firma/internal/ids"
	"firma/internal/policy"
	"firma/internal/wire"
)

var now = time.Date(2026, 11, 23, 10, 0, 0, 999_000_000, time.UTC)

func issuer(t testing.TB, cedar string) (*Issuer, *keys.Signer) {
	t.Helper()
	key, err := keys.Ephemeral()
	if err != nil {
		t.Fatal(err)
	}
	i := New(key, time.Hour, func() time.Time { return now })
	if cedar != "" {
		b, err := policy.Compile("test", []byte(cedar), nil)
		if err != nil {
			t.Fatal(err)
		}
		i.SetPolicy(b)
	}
	return i, key
}

func request() Request {
	return Request{AgentID: "local-dev", SessionID: "s", Scope: "*", Actions: []string{"code.write", "code.read", "code.read"}}
}

const permitAll = "permit (principal, action, resource);"

func TestIssue(t *testing.T) {
	i, key := issuer(t, permitAll)
	got, err := i.Issue(request())
	if err != nil {
		t.Fatal(err)
	}
	back, err := capability.Verify(key.Public(), got.Raw, now, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := back.Claims
	if !slices.Equal(c.ActionSet, []string{"code.read", "code.write"}) || c.AgentID != "local-dev" || c.SessionID != "s" ||
		c.ResourceScope != "*" || !ids.Valid(ids.Token, c.TokenID) || len(c.ContextHash) != 64 {
		t.Errorf("claims %+v", c)
	}
	if want := now.Truncate(time.Second); !c.IssuedAt.Equal(want) || !c.Expiry.Equal(want.Add(DefaultTTL)) {
		t.Errorf("from %v to %v", c.IssuedAt, c.Expiry)
	}
	if !got.IssuedAt.Equal(c.IssuedAt) || !got.Expiry.Equal(c.Expiry) {
		t.Errorf("the claims beside the token differ from those in it")
	}
}

// Grant = requested ∩ permitted.
func TestGrant(t *testing.T) {
	tests := map[string]struct {
		cedar string
		want  string // "" is POLICY_DENIED
	}{
		"all":                 {permitAll, "code.read code.write"},
		"one":                 {`permit (principal, action == Firma::Action::"code.read", resource);`, "code.read"},
		"another":             {`permit (principal, action == Firma::Action::"payment.read", resource);`, ""},
		"forbid wins":         {permitAll + `forbid (principal, action == Firma::Action::"code.write", resource);`, "code.read"},
		"no permit":           {`forbid (principal, action == Firma::Action::"payment.read", resource);`, ""},
		"this agent":          {`permit (principal == Firma::Agent::"local-dev", action, resource);`, "code.read code.write"},
		"another agent":       {`permit (principal == Firma::Agent::"x", action, resource);`, ""},
		"this scope":          {`permit (principal, action, resource == Firma::Resource::"*");`, "code.read code.write"},
		"another scope":       {`permit (principal, action, resource == Firma::Resource::"h.test");`, ""},
		"issuance only":       {`permit (principal, action, resource) when { context.raw_transport == "issuance" };`, "code.read code.write"},
		"this session":        {`permit (principal, action, resource) when { context.session_id == "s" };`, "code.read code.write"},
		"a step-up remains":   {permitAll + `@step_up("ask") forbid (principal, action == Firma::Action::"code.write", resource);`, "code.read"},
		"a modify is no yes":  {permitAll + `@modify("redact_header:x") forbid (principal, action == Firma::Action::"code.write", resource);`, "code.read"},
		"no policy set":       {"", ""},
		"forbid everything":   {permitAll + `forbid (principal, action, resource);`, ""},
		"time of the request": {`permit (principal, action, resource) when { context.timestamp_ms > 0 };`, "code.read code.write"},
	}
	for name, tt := range tests {
		i, _ := issuer(t, tt.cedar)
		got, err := i.Issue(request())
		var denied *Denied
		switch {
		case tt.want == "" && (!errors.As(err, &denied) || denied.Code != wire.DenyPolicy || got != nil):
			t.Errorf("%s: %v, %v", name, got, err)
		case tt.want != "" && (err != nil || strings.Join(got.ActionSet, " ") != tt.want):
			t.Errorf("%s: %v, %v, want %s", name, got, err, tt.want)
		}
	}
}

// The scope is asked about with its host and path.
func TestScopeReachesThePolicy(t *testing.T) {
	i, _ := issuer(t, `permit (principal, action, resource) when { resource has host && resource.host == "h.test" && resource has path && resource.path == "/v1" };`)
	for scope, granted := range map[string]bool{"h.test/v1": true, "h.test": false, "*": false, "x.test/v1": false} {
		r := request()
		r.Scope = scope
		if _, err := i.Issue(r); (err == nil) != granted {
			t.Errorf("%s: %v", scope, err)
		}
	}
}

func TestScopesThatCannotBeGranted(t *testing.T) {
	i, _ := issuer(t, permitAll)
	for _, scope := range []string{"*.anthropic.com*", "wttr.in*", "http://h.test", "h.test/../x", "a*.test", "*.*"} {
		r := request()
		r.Scope = scope
		_, err := i.Issue(r)
		var denied *Denied
		if !errors.As(err, &denied) || denied.Code != wire.DenyScope {
			t.Errorf("%q: %v", scope, err)
		}
	}
}

func TestMalformed(t *testing.T) {
	i, _ := issuer(t, permitAll)
	long := strings.Repeat("x", 3000)
	tests := map[string]func(*Request){
		"no agent":          func(r *Request) { r.AgentID = "" },
		"agent with space":  func(r *Request) { r.AgentID = "a b" },
		"agent with LF":     func(r *Request) { r.AgentID = "a\nb" },
		"agent not ASCII":   func(r *Request) { r.AgentID = "é" },
		"long agent":        func(r *Request) { r.AgentID = long },
		"no session":        func(r *Request) { r.SessionID = "" },
		"session with NUL":  func(r *Request) { r.SessionID = "s\x00" },
		"no scope":          func(r *Request) { r.Scope = "" },
		"long scope":        func(r *Request) { r.Scope = long },
		"no action":         func(r *Request) { r.Actions = nil },
		"unknown action":    func(r *Request) { r.Actions = []string{"code.read", "memory.read"} },
		"wildcard action":   func(r *Request) { r.Actions = []string{"*"} },
		"endless actions":   func(r *Request) { r.Actions = slices.Repeat([]string{"code.read"}, 257) },
		"negative lifetime": func(r *Request) { r.TTL = -time.Second },
	}
	for name, change := range tests {
		r := request()
		change(&r)
		got, err := i.Issue(r)
		var malformed *Malformed
		if got != nil || !errors.As(err, &malformed) || len(err.Error()) > 300 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// Whatever is asked for, a token lives between a second and max_ttl, and grants
// no class that was not asked for.
func TestBounds(t *testing.T) {
	i, key := issuer(t, permitAll)
	rapid.Check(t, func(t *rapid.T) {
		r := request()
		r.TTL = time.Duration(rapid.Int64Range(0, int64(48*time.Hour)).Draw(t, "ttl"))
		r.Actions = rapid.SliceOfN(rapid.Map(rapid.SampledFrom(action.All()), func(c action.Class) string { return string(c) }), 1, 60).Draw(t, "actions")
		got, err := i.Issue(r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := capability.Verify(key.Public(), got.Raw, now, 0)
		if err != nil {
			t.Fatal(err)
		}
		life := back.Expiry.Sub(back.IssuedAt)
		if life < time.Second || life > time.Hour || r.TTL >= time.Second && life > r.TTL && r.TTL != 0 {
			t.Fatalf("asked for %v, lives %v", r.TTL, life)
		}
		for _, a := range back.ActionSet {
			if !slices.Contains(r.Actions, a) {
				t.Fatalf("%s was not asked for", a)
			}
		}
	})
}
