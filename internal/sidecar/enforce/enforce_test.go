package enforce

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"firma/internal/action"
	"firma/internal/audit"
	"firma/internal/capability"
	"firma/internal/intent"
	"firma/internal/mapping"
	"firma/internal/policy"
	"firma/internal/verdict"
)

const rules = `version = 2
[[rules]]
method = "GET"
host = "a.test"
path = "/**"
action_class = "code.read"
[[rules]]
method = "POST"
host = "a.test"
path = "/**"
action_class = "code.write"
[[rules]]
method = "DELETE"
host = "a.test"
path = "/**"
action_class = "repo.admin"
[[rules]]
method = "CONNECT"
host = "tunnel.test"
action_class = "communication.external.send"
`

// scene is an Authority, a log and a clock that a test can bend.
type scene struct {
	now      time.Time
	ready    verdict.Reason
	tokens   *capability.Set
	revoked  bool
	bundle   *policy.Bundle
	fresh    time.Time
	events   []*audit.Event
	auditErr error
}

func (s *scene) Ready() (bool, verdict.Reason)       { return s.ready == verdict.None, s.ready }
func (s *scene) Tokens() *capability.Set             { return s.tokens }
func (s *scene) Revoked(string) bool                 { return s.revoked }
func (s *scene) Bundle() (*policy.Bundle, time.Time) { return s.bundle, s.fresh }

func (s *scene) Append(_ context.Context, e *audit.Event) error {
	if s.auditErr != nil {
		return s.auditErr
	}
	e.EventID = "aevt_test"
	s.events = append(s.events, e)
	return nil
}
func (s *scene) Roomy() bool { return true }

func (s *scene) Record(e *audit.Event) error { return s.Append(context.Background(), e) }

func (s *scene) Forbidden(c *intent.Call) (verdict.Reason, string) {
	if c.IsIP && c.Addr == netip.MustParseAddr("169.254.169.254") {
		return verdict.DestinationForbidden, "metadata"
	}
	return verdict.None, ""
}

func token(t *testing.T, now time.Time, change func(*capability.Claims)) *capability.Set {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := capability.Claims{TokenID: "ctok_1", AgentID: "agent", SessionID: "session", ContextHash: strings.Repeat("0", 64),
		ResourceScope: "*", ActionSet: []string{"*"}, IssuedAt: now.Add(-time.Minute), Expiry: now.Add(time.Hour)}
	if change != nil {
		change(&c)
	}
	raw, err := capability.Sign(key, c)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := capability.Verify(pub, raw, c.IssuedAt, 0)
	if err != nil {
		t.Fatal(err)
	}
	return capability.NewSet(tok)
}

func newScene(t *testing.T) *scene {
	t.Helper()
	text, err := policy.Posture("dev")
	if err != nil {
		t.Fatal(err)
	}
	b, err := policy.Compile("v1", text, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	return &scene{now: now, tokens: token(t, now, nil), bundle: b, fresh: now.Add(time.Minute)}
}

func (s *scene) enforcer(t *testing.T, protected bool) *Enforcer {
	t.Helper()
	rs, _, err := mapping.Parse("rules.toml", []byte(rules))
	if err != nil {
		t.Fatal(err)
	}
	table, err := mapping.NewTable(rs)
	if err != nil {
		t.Fatal(err)
	}
	return New(Config{SandboxID: "sbx", SessionID: "session", AgentID: "agent", Table: table, DefaultProtected: protected,
		Authority: s, Audit: s, Literals: s, Now: func() time.Time { return s.now }, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
}

func call(t *testing.T, method, target string) *intent.Call {
	t.Helper()
	var c intent.Call
	var err error
	if method == "CONNECT" {
		c, err = intent.FromAuthority(target)
	} else {
		c, err = intent.FromAbsolute(method, target)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &c
}

// TestReasons: one way to each decision, and each is in the log with its word.
func TestReasons(t *testing.T) {
	for _, c := range []struct {
		name           string
		method, target string
		bend           func(*testing.T, *scene)
		outcome        verdict.Outcome
		reason         verdict.Reason
	}{
		{"allowed", "GET", "http://a.test/x", nil, verdict.Allow, verdict.None},
		{"allowed tunnel", "CONNECT", "tunnel.test:443", nil, verdict.Allow, verdict.None},
		{"unmapped", "GET", "http://b.test/x", nil, verdict.Deny, verdict.UnclassifiedIntent},
		{"unmapped port", "GET", "http://a.test:8080/x", nil, verdict.Deny, verdict.UnclassifiedIntent},
		{"tunnel to a host with request rules only", "CONNECT", "a.test:443", nil, verdict.Deny, verdict.UnclassifiedIntent},
		{"forbidden by policy", "DELETE", "http://a.test/x", nil, verdict.Deny, verdict.PolicyDenied},
		{"address class first", "GET", "http://169.254.169.254/", nil, verdict.Deny, verdict.DestinationForbidden},
		{"address class, other spelling", "GET", "http://2852039166/", nil, verdict.Deny, verdict.DestinationForbidden},
		{"no bundle yet", "GET", "http://a.test/", func(_ *testing.T, s *scene) { s.ready = verdict.PolicyBundleNotReady }, verdict.Deny, verdict.PolicyBundleNotReady},
		{"no revocations yet", "GET", "http://a.test/", func(_ *testing.T, s *scene) { s.ready = verdict.RevocationCacheNotReady }, verdict.Deny, verdict.RevocationCacheNotReady},
		{"stale bundle", "GET", "http://a.test/", func(_ *testing.T, s *scene) { s.fresh = s.now }, verdict.Deny, verdict.PolicyBundleStale},
		{"nil bundle", "GET", "http://a.test/", func(_ *testing.T, s *scene) { s.bundle = nil }, verdict.Deny, verdict.PolicyBundleNotReady},
		{"no capability", "GET", "http://a.test/", func(_ *testing.T, s *scene) { s.tokens = capability.NewSet() }, verdict.Deny, verdict.CapabilityNotFound},
		{"another session's", "GET", "http://a.test/", func(t *testing.T, s *scene) {
			s.tokens = token(t, s.now, func(c *capability.Claims) { c.SessionID = "other" })
		}, verdict.Deny, verdict.CapabilityNotFound},
		{"another agent's", "GET", "http://a.test/", func(t *testing.T, s *scene) {
			s.tokens = token(t, s.now, func(c *capability.Claims) { c.AgentID = "other" })
		}, verdict.Deny, verdict.TenantMismatch},
		{"class not granted", "POST", "http://a.test/", func(t *testing.T, s *scene) {
			s.tokens = token(t, s.now, func(c *capability.Claims) { c.ActionSet = []string{string(action.Class("code.read"))} })
		}, verdict.Deny, verdict.CapabilityNotFound},
		{"outside the scope", "GET", "http://a.test/", func(t *testing.T, s *scene) {
			s.tokens = token(t, s.now, func(c *capability.Claims) { c.ResourceScope = "a.test.evil.test" })
		}, verdict.Deny, verdict.CapabilityScopeMismatch},
		{"expired", "GET", "http://a.test/", func(_ *testing.T, s *scene) { s.now, s.fresh = s.now.Add(2*time.Hour), s.now.Add(3*time.Hour) }, verdict.Deny, verdict.CapabilityExpired},
		{"revoked", "GET", "http://a.test/", func(_ *testing.T, s *scene) { s.revoked = true }, verdict.Deny, verdict.CapabilityRevoked},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			if c.bend != nil {
				c.bend(t, s)
			}
			d := s.enforcer(t, true).Enforce(context.Background(), call(t, c.method, c.target))
			if d.Outcome != c.outcome || d.Reason != c.reason {
				t.Fatalf("%v %q (%s), want %v %q", d.Outcome, d.Reason, d.Detail, c.outcome, c.reason)
			}
			if len(s.events) != 1 || s.events[0].Decision != c.outcome || s.events[0].Reason != c.reason || d.EventID == "" {
				t.Fatalf("recorded %+v for %+v", s.events, d)
			}
			if c.reason != verdict.None && !strings.HasPrefix(s.events[0].DenyReason, c.reason.Words()) {
				t.Errorf("deny_reason %q", s.events[0].DenyReason)
			}
		})
	}
}

// TestEncodedSlash: the upstream may read it either way, so both readings are
// judged, by rules, by the capability and by policies.
func TestEncodedSlash(t *testing.T) {
	for _, c := range []struct {
		name, rules, scope, policy string
		want                       verdict.Reason
	}{
		{"covered either way", `path = "/**"`, "*", "", verdict.None},
		{"one reading unmapped", `path = "/*"`, "*", "", verdict.UnclassifiedIntent},
		{"one reading outside the scope", `path = "/**"`, "a.test/pkg%2Fx", "", verdict.CapabilityScopeMismatch},
		{"both inside the scope", `path = "/**"`, "a.test/@s", "", verdict.CapabilityScopeMismatch},
		{"decoded path forbidden", `path = "/**"`, "*", `resource.path == "/@s/n"`, verdict.PolicyDenied},
		{"path as written forbidden", `path = "/**"`, "*", `resource.path == "/@s%2Fn"`, verdict.PolicyDenied},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.Contains(c.scope, "%2F") {
				if _, err := capability.ParseScope(c.scope); err == nil {
					t.Error("a scope with an encoded slash is one nobody can mean")
				}
				return
			}
			s := newScene(t)
			s.tokens = token(t, s.now, func(x *capability.Claims) { x.ResourceScope = c.scope })
			text := "permit (principal, action, resource);"
			if c.policy != "" {
				text += "forbid (principal, action, resource) when { resource has path && " + c.policy + " };"
			}
			var err error
			if s.bundle, err = policy.Compile("v", []byte(text), nil); err != nil {
				t.Fatal(err)
			}
			e := s.enforcer(t, true)
			rs, _, err := mapping.Parse("r.toml", []byte("version = 2\n[[rules]]\nhost = \"a.test\"\naction_class = \"code.read\"\n"+c.rules+"\n"))
			if err != nil {
				t.Fatal(err)
			}
			table, err := mapping.NewTable(rs)
			if err != nil {
				t.Fatal(err)
			}
			e.table.Store(table)
			if d := e.Enforce(context.Background(), call(t, "GET", "http://a.test/@s%2fn")); d.Reason != c.want {
				t.Errorf("%q (%s), want %q", d.Reason, d.Detail, c.want)
			}
		})
	}
}

func TestWhatCannotBeRecordedDoesNotHappen(t *testing.T) {
	s := newScene(t)
	s.auditErr = errors.New("disk full")
	if d := s.enforcer(t, true).Enforce(context.Background(), call(t, "GET", "http://a.test/")); d.Outcome != verdict.Deny || d.Reason != verdict.AuditUnavailable {
		t.Errorf("%+v", d)
	}
}

func TestPassthroughIsForUnmappedOnly(t *testing.T) {
	s := newScene(t)
	e := s.enforcer(t, false)
	if d := e.Enforce(context.Background(), call(t, "GET", "http://b.test/")); d.Outcome != verdict.Allow || !d.Passthrough || s.events[0].Outcome != verdict.Passthrough {
		t.Errorf("unmapped: %+v %+v", d, s.events[0])
	}
	for _, target := range []string{"http://169.254.169.254/"} {
		if d := e.Enforce(context.Background(), call(t, "GET", target)); d.Outcome != verdict.Deny {
			t.Errorf("%s: %+v", target, d)
		}
	}
	if d := e.Enforce(context.Background(), call(t, "TRACE", "http://a.test/")); d.Outcome != verdict.Deny {
		t.Errorf("a call that can't be classified passed: %+v", d)
	}
}

// TestUnreadable: what no rule can help against is not said to want one.
func TestUnreadable(t *testing.T) {
	e := newScene(t).enforcer(t, true)
	for _, c := range []struct{ method, target, detail, fix string }{
		{"PROPFIND", "http://a.test/", noMethod, ""},
		{"TRACE", "http://a.test/", noMethod, ""},
		{"GET", "http://b.test/", "no mapping rule covers b.test", "firma run --allow b.test"},
	} {
		d := e.Enforce(context.Background(), call(t, c.method, c.target))
		if d.Reason != verdict.UnclassifiedIntent || d.Detail != c.detail || (d.Hint == "") != (c.fix == "") {
			t.Errorf("%s %s: %+v", c.method, c.target, d)
		}
		if got := newTally(false).fix("b.test", d); got != c.fix {
			t.Errorf("%s %s: fix %q, want %q", c.method, c.target, got, c.fix)
		}
	}
}

// TestAdmit: a stream that is looked into needs a rule for its destination, but on
// port 443, and nothing more; who may be contacted before a call is what some call
// could reach.
func TestAdmit(t *testing.T) {
	for _, c := range []struct {
		name, target string
		bend         func(*testing.T, *scene)
		reason       verdict.Reason
		contactable  bool
	}{
		{"host with request rules only", "a.test:443", nil, verdict.None, true},
		{"unmapped, which each request is told", "b.test:443", nil, verdict.None, false},
		{"unmapped, nothing ready", "b.test:443", func(_ *testing.T, s *scene) { s.ready = verdict.PolicyBundleNotReady }, verdict.PolicyBundleNotReady, false},
		{"unmapped port", "a.test:8443", nil, verdict.UnclassifiedIntent, false},
		{"address class", "169.254.169.254:443", nil, verdict.DestinationForbidden, false},
		{"nothing ready", "a.test:443", func(_ *testing.T, s *scene) { s.ready = verdict.PolicyBundleNotReady }, verdict.PolicyBundleNotReady, false},
		{"revoked", "a.test:443", func(_ *testing.T, s *scene) { s.revoked = true }, verdict.None, false},
		{"stale", "a.test:443", func(_ *testing.T, s *scene) { s.fresh = s.now }, verdict.None, false},
		{"only a forbidden class granted", "a.test:443", func(t *testing.T, s *scene) {
			s.tokens = token(t, s.now, func(c *capability.Claims) { c.ActionSet = []string{"repo.admin"} })
		}, verdict.None, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			if c.bend != nil {
				c.bend(t, s)
			}
			e := s.enforcer(t, true)
			if got := e.Contactable(call(t, "CONNECT", c.target)); got != c.contactable || len(s.events) != 0 {
				t.Errorf("contactable: %v, %d events", got, len(s.events))
			}
			d := e.Admit(context.Background(), call(t, "CONNECT", c.target))
			if d.Reason != c.reason || d.Outcome.Dispatches() != (c.reason == verdict.None) {
				t.Fatalf("%+v, want %q", d, c.reason)
			}
			if len(s.events) != 1 || s.events[0].Kind != audit.KindStream || s.events[0].Reason != c.reason {
				t.Errorf("recorded %+v", s.events)
			}
			if counts, _ := e.Tally().Counts(); (len(counts) != 0) != (c.reason != verdict.None) {
				t.Errorf("counted %+v", counts)
			}
		})
	}
}

// TestStill: an open call is judged by what holds now, but for the clock of the
// bundle and the counters.
func TestStill(t *testing.T) {
	s := newScene(t)
	e := s.enforcer(t, true)
	c := call(t, "CONNECT", "tunnel.test:443")
	d := e.Enforce(context.Background(), c)
	if r := e.Still(c, d); r != verdict.None {
		t.Fatalf("cut without a reason: %s", r)
	}
	s.fresh = s.now.Add(-time.Hour)
	if r := e.Still(c, d); r != verdict.None {
		t.Errorf("cut by a stale bundle: %s", r)
	}
	s.revoked = true
	if r := e.Still(c, d); r != verdict.CapabilityRevoked {
		t.Errorf("revoked and still open: %q", r)
	}
	if len(s.events) != 1 {
		t.Errorf("looking again was recorded: %d events", len(s.events))
	}
}

func TestLongTargetsAreCutInTheLog(t *testing.T) {
	s := newScene(t)
	e := s.enforcer(t, true)
	e.Enforce(context.Background(), call(t, "GET", "http://a.test/"+strings.Repeat("x", 15_000)))
	e.Enforce(context.Background(), call(t, "GET", "http://a.test/?key=secret&x=1"))
	if n := len(s.events[0].Resource); n > maxResource+100 || !strings.Contains(s.events[0].Resource, "…sha256:") {
		t.Errorf("%d bytes", n)
	}
	if r := s.events[1].Resource; strings.Contains(r, "secret") || !strings.Contains(r, "x=1") {
		t.Errorf("%q", r)
	}
}

// TestPortsInTheLog: the resource leaves out 80 and 443; which of them it was must
// still show.
func TestPortsInTheLog(t *testing.T) {
	for url, want := range map[string]string{"http://a.test/": "", "http://a.test:443/": `"port":"443"`, "http://a.test:8080/": ""} {
		s := newScene(t)
		s.enforcer(t, true).Enforce(context.Background(), call(t, "GET", url))
		info := string(s.events[0].Info)
		if want == "" && strings.Contains(info, `"port"`) || !strings.Contains(info, want) {
			t.Errorf("%s: %s", url, info)
		}
	}
}

// TestOtherReadings: a policy is asked about every path and every method that the
// upstream may take the request for.
func TestOtherReadings(t *testing.T) {
	for _, c := range []struct {
		name, method, target, forbid string
		want                         verdict.Reason
	}{
		{"parameters dropped", "GET", "/admin;x/keys", `resource.path like "/admin/*"`, verdict.PolicyDenied},
		{"parameters, encoded", "GET", "/admin%3Bx/keys", `resource.path like "/admin/*"`, verdict.PolicyDenied},
		{"parameters in a resource's id", "GET", "/admin;x", `resource.id == "a.test/admin"`, verdict.PolicyDenied},
		{"slash decoded, parameters dropped", "GET", "/v1%2Fadmin;x/keys", `resource.path like "/v1/admin/*"`, verdict.PolicyDenied},
		{"a query after decoding", "GET", "/admin/a%3Fx", `resource.id == "a.test/admin/a"`, verdict.PolicyDenied},
		{"elsewhere", "GET", "/public;x/keys", `resource.path like "/admin/*"`, verdict.None},
		{"method in the query", "POST", "/a?_method=DELETE", `resource.method == "DELETE"`, verdict.PolicyDenied},
		{"another method in the query", "POST", "/a?_method=get", `resource.method == "DELETE"`, verdict.None},
		{"a parameter that is no method", "POST", "/a?_method=x", `resource.method == "x"`, verdict.None},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			text := "permit (principal, action, resource); forbid (principal, action, resource) when { " + c.forbid + " };"
			text = strings.ReplaceAll(text, "{ resource.path", "{ resource has path && resource.path")
			text = strings.ReplaceAll(text, "{ resource.method", "{ resource has method && resource.method")
			var err error
			if s.bundle, err = policy.Compile("v", []byte(text), nil); err != nil {
				t.Fatal(err)
			}
			e, x := s.enforcer(t, true), call(t, c.method, "http://a.test"+c.target)
			d := e.Enforce(context.Background(), x)
			if d.Reason != c.want {
				t.Errorf("%q (%s), want %q", d.Reason, d.Detail, c.want)
			}
			if still := e.Still(x, d); (still == verdict.None) != (c.want == verdict.None) {
				t.Errorf("still: %q", still)
			}
		})
	}
}
