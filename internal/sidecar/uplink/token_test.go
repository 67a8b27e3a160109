package uplink

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"pgregory.net/rapid"

	"firma/internal/capability"
	"firma/internal/fault"
	"firma/internal/intent"
	"firma/internal/wire"
	"firma/internal/wire/firmav1"
)

// A token is accepted only if it is what was asked for, or less.
func TestOnlyWhatWasAskedForIsAccepted(t *testing.T) {
	_, foreign, _ := ed25519.GenerateKey(nil)
	tests := map[string]struct {
		change func(*capability.Claims)
		want   string // "" accepts
	}{
		"as asked":          {func(*capability.Claims) {}, ""},
		"fewer classes":     {func(c *capability.Claims) { c.ActionSet = c.ActionSet[:1] }, ""},
		"shorter life":      {func(c *capability.Claims) { c.Expiry = c.IssuedAt.Add(time.Minute) }, ""},
		"another agent":     {func(c *capability.Claims) { c.AgentID = "other" }, "another agent's"},
		"another session":   {func(c *capability.Claims) { c.SessionID = "other" }, "another session"},
		"another scope":     {func(c *capability.Claims) { c.ResourceScope = "evil.test" }, "another scope"},
		"a wider scope":     {func(c *capability.Claims) { c.ResourceScope = "*" }, "another scope"},
		"one class more":    {func(c *capability.Claims) { c.ActionSet = append(c.ActionSet, "payment.transfer") }, "not asked for"},
		"every class":       {func(c *capability.Claims) { c.ActionSet = []string{"*"} }, "not asked for"},
		"longer life":       {func(c *capability.Claims) { c.Expiry = c.IssuedAt.Add(time.Hour) }, "lives longer"},
		"expired":           {func(c *capability.Claims) { c.IssuedAt, c.Expiry = c.IssuedAt.Add(-time.Hour), c.IssuedAt }, "CapabilityExpired"},
		"from the future":   {func(c *capability.Claims) { c.IssuedAt = c.IssuedAt.Add(time.Minute) }, "not valid yet"},
		"signed by another": {nil, "signature"},
	}
	for name, tt := range tests {
		f := newFake(t)
		f.issue = func(r *firmav1.IssueCapabilityRequest) (*firmav1.IssueCapabilityResponse, error) {
			c := claims(r)
			if tt.change == nil {
				f := &fake{key: foreign}
				return f.grant(t, c), nil
			}
			tt.change(&c)
			return f.grant(t, c), nil
		}
		cfg := f.config()
		cfg.Request.Scope = "api.test"
		err := refusedStart(t, cfg)
		if tt.want == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if tt.want != "" && (fault.NameOf(err) != "Capability" || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestScopeMayNarrowTheStar(t *testing.T) {
	f := newFake(t)
	f.issue = func(r *firmav1.IssueCapabilityRequest) (*firmav1.IssueCapabilityResponse, error) {
		c := claims(r)
		c.ResourceScope = "api.test/v1"
		return f.grant(t, c), nil
	}
	started(t, f.config())
}

func TestUnusableAnswers(t *testing.T) {
	tests := map[string]struct {
		answer *firmav1.IssueCapabilityResponse
		err    error
		want   string
	}{
		"empty":                {&firmav1.IssueCapabilityResponse{}, nil, "CapabilityDenied"},
		"denied":               {&firmav1.IssueCapabilityResponse{DenyReason: wire.DenyPolicy}, nil, "CapabilityDenied"},
		"scope":                {&firmav1.IssueCapabilityResponse{DenyReason: wire.DenyScope}, nil, "CapabilityDenied"},
		"not registered":       {&firmav1.IssueCapabilityResponse{DenyReason: wire.DenyNotRegistered}, nil, "AgentNotRegistered"},
		"profile":              {&firmav1.IssueCapabilityResponse{DenyReason: wire.DenyProfileMismatch}, nil, "AgentProfileMismatch"},
		"granted, no token":    {&firmav1.IssueCapabilityResponse{Granted: true}, nil, "Capability"},
		"granted, no format":   {&firmav1.IssueCapabilityResponse{Granted: true, Token: &firmav1.CapabilityToken{Signature: []byte("v4.public.x")}}, nil, "Capability"},
		"granted, other token": {&firmav1.IssueCapabilityResponse{Granted: true, Token: &firmav1.CapabilityToken{Format: firmav1.TokenFormat_TOKEN_FORMAT_JWT_RS256}}, nil, "Capability"},
		"granted, no PASETO":   {&firmav1.IssueCapabilityResponse{Granted: true, Token: &firmav1.CapabilityToken{Signature: []byte("x"), Format: firmav1.TokenFormat_TOKEN_FORMAT_PASETO_V4}}, nil, "Capability"},
		"denied with a token":  {&firmav1.IssueCapabilityResponse{Token: &firmav1.CapabilityToken{Format: firmav1.TokenFormat_TOKEN_FORMAT_PASETO_V4}}, nil, "CapabilityDenied"},
		"unavailable":          {nil, connect.NewError(connect.CodeUnavailable, errors.New("x")), "AuthorityUnreachable"},
		"internal":             {nil, connect.NewError(connect.CodeInternal, errors.New("x")), "AuthorityTransportAmbiguous"},
	}
	for name, tt := range tests {
		f := newFake(t)
		f.issue = func(*firmav1.IssueCapabilityRequest) (*firmav1.IssueCapabilityResponse, error) {
			return tt.answer, tt.err
		}
		if err := refusedStart(t, f.config()); fault.NameOf(err) != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
}

// What an Authority says ends up on a terminal.
func TestDenyMessageIsHarmless(t *testing.T) {
	err := denied(&firmav1.IssueCapabilityResponse{DenyReason: "X\x1b[2J", DenyMessage: "a\nb\u202e" + strings.Repeat("c", 1000)})
	if s := err.Error(); strings.ContainsAny(s, "\x1b\n\u202e") || len(s) > 600 {
		t.Errorf("%d bytes: %q", len(s), s)
	}
}

func TestRefreshAt(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	r := Request{RefreshRatio: 0.60, RefreshGrace: 30 * time.Second}
	for remaining, want := range map[time.Duration]time.Duration{
		900 * time.Second:  540 * time.Second,
		3600 * time.Second: 2160 * time.Second,
		75 * time.Second:   45 * time.Second,
		60 * time.Second:   30 * time.Second, // the grace is earlier than the ratio
		31 * time.Second:   time.Second,
		10 * time.Second:   time.Second,
		0:                  time.Second,
		-time.Hour:         time.Second,
	} {
		if got := r.refreshAt(now.Add(remaining), now).Sub(now); got != want {
			t.Errorf("%v left: renewed after %v, want %v", remaining, got, want)
		}
	}
}

func TestBackoff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := backoff{min: time.Duration(rapid.Int64Range(1, 1e9).Draw(t, "min"))}
		b.max = b.min * time.Duration(rapid.Int64Range(1, 500).Draw(t, "times"))
		step := b.min
		for range 20 {
			if d := b.next(); d < step/2 || d > step {
				t.Fatalf("waited %v, want %v to %v", d, step/2, step)
			}
			step = min(2*step, b.max)
		}
		b.reset()
		if d := b.next(); d > b.min {
			t.Fatalf("waited %v after a success", d)
		}
	})
}

// A renewal that fails leaves the old token, and is retried 1 s, 2 s, 4 s …
// later, 30 s at most; no attempt publishes anything it should not.
func TestRenewalFailsAndRecovers(t *testing.T) {
	f := newFake(t)
	w := newWaits()
	start, later := time.Now().Truncate(time.Second), new(atomic.Int64)
	broken := make(chan bool, 1)
	broken <- false
	f.issue = func(r *firmav1.IssueCapabilityRequest) (*firmav1.IssueCapabilityResponse, error) {
		bad := <-broken
		broken <- bad
		if bad {
			return &firmav1.IssueCapabilityResponse{DenyReason: wire.DenyPolicy}, nil
		}
		c := claims(r)
		c.IssuedAt, c.Expiry = start, start.Add(31*time.Second) // renewed after a second
		return f.grant(t, c), nil
	}
	cfg := f.config()
	cfg.After, cfg.Now = w.After, func() time.Time { return start.Add(time.Duration(later.Load())) }
	u := started(t, cfg)
	before := u.Tokens()

	<-broken
	broken <- true
	first := w.next(t, func(d time.Duration) bool { return d == time.Second })
	later.Store(int64(time.Second))
	first.fire <- start
	step := time.Second
	for range 8 {
		a := w.next(t, func(d time.Duration) bool { return d >= step/2 && d <= step && !fixed(d) })
		if u.Tokens() != before {
			t.Fatal("a failed renewal changed the tokens")
		}
		a.fire <- start
		step = min(2*step, 30*time.Second)
	}
	last := w.next(t, func(d time.Duration) bool { return d >= 15*time.Second && !fixed(d) })
	<-broken
	broken <- false
	last.fire <- start
	eventually(t, "the renewal", func() bool { return u.Tokens() != before })
}

func TestSeedsAreServedBesideOrInsteadOfARequest(t *testing.T) {
	c, err := intent.FromAbsolute("GET", "http://h.test/")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Truncate(time.Second)
	seed := &capability.Token{Claims: capability.Claims{TokenID: "ctok_seed", AgentID: "agent", SessionID: "session",
		ActionSet: []string{"credential.read"}, ResourceScope: "*", IssuedAt: now, Expiry: now.Add(time.Hour)}}
	for _, asking := range []bool{false, true} {
		f := newFake(t)
		cfg := f.config()
		cfg.Seeds = []*capability.Token{seed}
		if !asking {
			cfg.Request = nil
			f.issue = nil // would crash
		}
		u := started(t, cfg)
		if _, refusal := u.Tokens().Select("session", "credential.read", &c, now, 0, u.Revoked); refusal != nil {
			t.Errorf("asking %v: %v", asking, refusal)
		}
		if want := map[bool]int{false: 1, true: 2}[asking]; u.Tokens().Len() != want {
			t.Errorf("asking %v: %d tokens, want %d", asking, u.Tokens().Len(), want)
		}
	}
}
