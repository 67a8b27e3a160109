package authority_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"firma/internal/action"
	"firma/internal/authority"
	"firma/internal/fault"
	"firma/internal/intent"
	"firma/internal/policy"
	"firma/internal/sidecar/uplink"
	"firma/internal/verdict"
	"firma/internal/wire"
)

// call is a request to h.test that the tests decide about.
func call(t testing.TB) *intent.Call {
	t.Helper()
	c, err := intent.FromAbsolute("GET", "http://h.test/")
	if err != nil {
		t.Fatal(err)
	}
	return &c
}

func TestStartFetchesEverything(t *testing.T) {
	cfg := inMemory()
	cfg.IssuancePolicies = []byte(`permit (principal, action == Firma::Action::"code.read", resource);`)
	r := run(t, cfg)
	u := start(t, towards(r))

	if ok, reason := u.Ready(); !ok {
		t.Fatalf("not ready: %s", reason)
	}
	b, fresh := u.Bundle()
	result := b.Evaluate(policy.Request{AgentID: "local-dev", Class: "code.read", ResourceID: "h.test/"})
	if result.Outcome != verdict.Allow || u.BundleVersion() != r.BundleVersion || time.Until(fresh) <= 0 {
		t.Errorf("outcome %v, version %q (want %q), fresh until %v", result.Outcome, u.BundleVersion(), r.BundleVersion, fresh)
	}
	tok, refusal := u.Tokens().Select("s-1", "code.read", call(t), time.Now(), 0, u.Revoked)
	if refusal != nil {
		t.Fatal(refusal)
	}
	if tok.AgentID != "local-dev" || tok.ResourceScope != "*" || tok.Expiry.Sub(tok.IssuedAt) != uplink.DefaultTTL || tok.ContextHash == "" {
		t.Errorf("unexpected claims %+v", tok.Claims)
	}
	if _, refusal := u.Tokens().Select("s-1", "code.write", call(t), time.Now(), 0, u.Revoked); refusal == nil || refusal.Reason != verdict.CapabilityNotFound {
		t.Errorf("a class the issuance policies do not permit was granted: %v", refusal)
	}
}

// What stops a Sidecar from starting, and the name a person is told.
func TestStartFailsClosed(t *testing.T) {
	r := run(t, inMemory())
	denying := inMemory()
	denying.IssuancePolicies = []byte(`permit (principal, action, resource); forbid (principal, action, resource);`)
	deny := run(t, denying)
	stopped := run(t, inMemory())
	stopped.stop()

	tests := []struct {
		name   string
		to     *running
		change func(*uplink.Config)
		want   string
	}{
		{"wrong key", r, func(c *uplink.Config) { c.Credentials.PreSharedKey = "guess" }, "AuthorityAccessDenied"},
		{"no key", r, func(c *uplink.Config) { c.Credentials.PreSharedKey = "" }, "AuthorityAccessDenied"},
		{"no key, nothing but streams", r, func(c *uplink.Config) { c.Credentials.PreSharedKey, c.Request = "", nil }, "AuthorityAccessDenied"},
		{"another Authority's key", r, func(c *uplink.Config) { c.PublicKey = otherKey(t) }, "AuthorityNotAuthentic"},
		{"issuance denied", deny, func(*uplink.Config) {}, "CapabilityDenied"},
		{"unknown class", r, func(c *uplink.Config) { c.Request.Actions = []action.Class{"no.such"} }, "AuthorityRequestRefused"},
		{"control character in the agent", r, func(c *uplink.Config) { c.Request.AgentID = "a\nb" }, "AuthorityRequestRefused"},
		{"nobody listens", stopped, func(*uplink.Config) {}, "AuthorityUnreachable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := towards(tt.to)
			tt.change(&cfg)
			err := startErr(t, cfg)
			if got := fault.NameOf(err); got != tt.want {
				t.Errorf("got %q (%v), want %q", got, err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), string(key)) {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}

func TestStartIsBoundedByItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u, err := uplink.New(uplink.Config{URL: "http://" + l.Addr().String(), PublicKey: otherKey(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		if c, err := l.Accept(); err == nil {
			cancel() // the uplink waits for an answer by now
			defer c.Close()
			_, _ = c.Read(make([]byte, 1<<10))
		}
	}()
	if err := u.Start(ctx); fault.NameOf(err) != "AuthorityUnreachable" {
		t.Errorf("got %v", err)
	}
}

func TestHalfAPolicyIsNotServed(t *testing.T) {
	tests := map[string]func(*authority.Config){
		"ConfigValidation no policies":        func(c *authority.Config) { c.Policies = nil },
		"ConfigValidation two sources":        func(c *authority.Config) { c.PolicyDir = t.TempDir() },
		"ConfigValidation no issuance":        func(c *authority.Config) { c.IssuancePolicies = nil },
		"ConfigValidation no key":             func(c *authority.Config) { c.PreSharedKey = "" },
		"ConfigValidation key and anonymous":  func(c *authority.Config) { c.Anonymous = true },
		"ConfigValidation every interface":    func(c *authority.Config) { c.Listen = "0.0.0.0:0" },
		"ConfigValidation unspecified IPv6":   func(c *authority.Config) { c.Listen = "[::]:0" },
		"ConfigValidation public address":     func(c *authority.Config) { c.Listen = "192.0.2.1:50051" },
		"ConfigValidation name":               func(c *authority.Config) { c.Listen = "localhost:0" },
		"ConfigValidation no port":            func(c *authority.Config) { c.Listen = "127.0.0.1" },
		"ConfigValidation short max_ttl":      func(c *authority.Config) { c.MaxTTL = time.Millisecond },
		"ConfigValidation negative max_ttl":   func(c *authority.Config) { c.MaxTTL = -time.Hour },
		"ConfigValidation odd bundle_ttl":     func(c *authority.Config) { c.BundleTTL = 1500 * time.Millisecond },
		"ConfigValidation endless bundle_ttl": func(c *authority.Config) { c.BundleTTL = 48 * time.Hour },
		"PolicyInvalid syntax":                func(c *authority.Config) { c.Policies = []byte("permit (principal") },
		"PolicyInvalid unknown action": func(c *authority.Config) {
			c.Policies = []byte(`permit (principal, action == Firma::Action::"x", resource);`)
		},
		"PolicyInvalid issuance syntax": func(c *authority.Config) { c.IssuancePolicies = []byte("forbid") },
		"PolicyInvalid too large":       func(c *authority.Config) { c.Policies = make([]byte, wire.MaxBundleBytes+1) },
		"PolicyInvalid empty directory": func(c *authority.Config) { c.Policies, c.PolicyDir = nil, t.TempDir() },
		"AuthorityKeyInvalid missing":   func(c *authority.Config) { c.KeyFile = t.TempDir() + "/none" },
	}
	for name, change := range tests {
		cfg := inMemory()
		change(&cfg)
		want, _, _ := strings.Cut(name, " ")
		if _, err := authority.New(cfg); fault.NameOf(err) != want {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestListensOnLoopbackOnly(t *testing.T) {
	for _, addr := range []string{"", "127.0.0.1:0", "[::1]:0", "127.0.0.2:0"} {
		cfg := inMemory()
		cfg.Listen = addr
		r := run(t, cfg)
		host, _, err := net.SplitHostPort(r.Addr)
		if err != nil || !net.ParseIP(host).IsLoopback() {
			t.Errorf("%q listens on %q", addr, r.Addr)
		}
		start(t, towards(r))
	}
}

func TestAddressInUse(t *testing.T) {
	r := run(t, inMemory())
	cfg := inMemory()
	cfg.Listen = r.Addr
	a, err := authority.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(context.Background()); fault.NameOf(err) != "AuthorityListenFailed" {
		t.Errorf("got %v", err)
	}
}

func TestRunEndsStreamsAndClosesTheAddress(t *testing.T) {
	r := run(t, inMemory())
	start(t, towards(r))
	r.stop() // fails the test if Run returned an error
	if res, err := http.Get(r.URL()); err == nil {
		res.Body.Close()
		t.Error("something still listens")
	}
}

func TestAnonymous(t *testing.T) {
	log := new(logged)
	cfg := inMemory()
	cfg.PreSharedKey, cfg.Anonymous, cfg.Log = "", true, log.logger()
	to := towards(run(t, cfg))
	to.Credentials = uplink.Credentials{}
	start(t, to)
	if !strings.Contains(log.all(), "WARN no pre-shared key") {
		t.Errorf("the operator was not told:\n%s", log.all())
	}
}

func TestNothingSecretIsLogged(t *testing.T) {
	log := new(logged)
	cfg := inMemory()
	cfg.Log = log.logger()
	to := towards(run(t, cfg))
	to.Log = log.logger()
	start(t, to)
	to.Credentials.PreSharedKey = "a-wrong-guess"
	_ = startErr(t, to)
	for _, secret := range []string{string(key), "a-wrong-guess", "v4.public."} {
		if strings.Contains(log.all(), secret) {
			t.Errorf("%q is in the log:\n%s", secret, log.all())
		}
	}
}
