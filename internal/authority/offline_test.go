package authority_test

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"firma/internal/action"
	"firma/internal/authority"
	"firma/internal/capability"
	"firma/internal/fault"
	"firma/internal/sidecar/uplink"
)

func TestGenerateKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "firma-authority.key")
	pub, beside, err := authority.GenerateKey(path)
	if err != nil {
		t.Fatal(err)
	}
	private, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile(beside)
	if err != nil || filepath.Base(beside) != "firma-authority.pub" {
		t.Fatalf("%s: %v", beside, err)
	}
	if len(private) != 64 || len(public) != 32 || !pub.Equal(ed25519.PublicKey(public)) {
		t.Errorf("%d and %d bytes", len(private), len(public))
	}
	if info, _ := os.Stat(path); runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if _, _, err := authority.GenerateKey(path); fault.NameOf(err) != "AuthorityKeyInvalid" {
		t.Errorf("a second key: %v", err)
	}
	if after, _ := os.ReadFile(path); string(after) != string(private) {
		t.Error("the key was overwritten")
	}
}

// A public half that is in the way leaves no private half behind.
func TestGenerateKeyUndoes(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.pub"), "something")
	if _, _, err := authority.GenerateKey(filepath.Join(dir, "a.key")); err == nil {
		t.Fatal("it overwrote a file")
	}
	if _, err := os.Stat(filepath.Join(dir, "a.key")); err == nil {
		t.Error("half a pair is left")
	}
}

func TestIssueOffline(t *testing.T) {
	cfg := onDisk(t, newClock())
	cfg.MaxTTL = time.Minute
	tok, err := authority.Issue(cfg, authority.IssueRequest{
		AgentID: "local-dev", SessionID: "s-1", Scope: "*", Actions: []string{"communication.external.send"}, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "capability.toml")
	write(t, path, "an older one, readable by others")
	if err := authority.WriteSeed(path, tok); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(path); runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := capability.ParseSeed(path, text)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := uplink.LoadPublicKey(strings.TrimSuffix(cfg.KeyFile, ".key") + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	got, err := seed.Token(pub, cfg.Now(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if life := got.Expiry.Sub(got.IssuedAt); life != time.Minute {
		t.Errorf("it lives %v, max_ttl is a minute", life)
	}
}

func TestIssueOfflineRefusals(t *testing.T) {
	cfg := onDisk(t, newClock())
	good := authority.IssueRequest{AgentID: "a", SessionID: "s", Scope: "*", Actions: []string{"code.read"}}
	deny := filepath.Join(t.TempDir(), "deny")
	write(t, filepath.Join(deny, "x.cedar"), `forbid (principal, action, resource);`)
	tests := map[string]struct {
		change func(*authority.Config, *authority.IssueRequest)
		name   string
		text   string
	}{
		"denied":           {func(c *authority.Config, _ *authority.IssueRequest) { c.IssuancePolicyDir = deny }, "CapabilityDenied", "issuance failed: cedar denied issuance"},
		"scope":            {func(_ *authority.Config, r *authority.IssueRequest) { r.Scope = "*.anthropic.com*" }, "CapabilityDenied", "issuance failed: the scope"},
		"class":            {func(_ *authority.Config, r *authority.IssueRequest) { r.Actions = []string{"no.such"} }, "Capability", `"no.such"`},
		"no key":           {func(c *authority.Config, _ *authority.IssueRequest) { c.KeyFile = "" }, "ConfigValidation", "key_file"},
		"no issuance":      {func(c *authority.Config, _ *authority.IssueRequest) { c.IssuancePolicyDir = "" }, "ConfigValidation", "issuance"},
		"missing policies": {func(c *authority.Config, _ *authority.IssueRequest) { c.IssuancePolicyDir = deny + "x" }, "PolicyInvalid", deny + "x"},
	}
	for name, tt := range tests {
		c, r := cfg, good
		tt.change(&c, &r)
		tok, err := authority.Issue(c, r)
		if tok != nil || fault.NameOf(err) != tt.name || !strings.Contains(explained(err), tt.text) {
			t.Errorf("%s: %v %v", name, tok, err)
		}
	}
}

func explained(err error) string {
	var text string
	if f, ok := err.(*fault.Error); ok {
		text = " " + f.Text + " " + f.Fix
	}
	return err.Error() + text
}

func TestRevokeAndCompact(t *testing.T) {
	path := filepath.Join(t.TempDir(), "revocations.txt")
	now := time.Now()
	for _, id := range []string{"ctok_old", "ctok_new"} {
		at := now
		if id == "ctok_old" {
			at = now.Add(-2 * time.Hour)
		}
		if err := authority.Revoke(path, id, "operator-revoked\nx", time.Hour, at); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := authority.CompactRevocations(path, now); n != 1 || err != nil {
		t.Errorf("dropped %d, %v", n, err)
	}
	text, _ := os.ReadFile(path)
	if s := string(text); strings.Contains(s, "ctok_old") || strings.Count(s, "\n") != 1 || !strings.HasSuffix(s, " operator-revoked x\n") {
		t.Errorf("the file is %q", s)
	}
}

// A running Authority and one that signs offline agree on what is granted.
func TestOfflineEqualsOnline(t *testing.T) {
	c := newClock()
	cfg := onDisk(t, c)
	write(t, filepath.Join(cfg.IssuancePolicyDir, "no-pay.cedar"), `forbid (principal, action == Firma::Action::"payment.transfer", resource);`)
	to := towards(run(t, cfg))
	to.Now = c.Now
	u := start(t, to)
	online, refusal := u.Tokens().Select("s-1", "code.read", call(t), c.Now(), 0, u.Revoked)
	if refusal != nil {
		t.Fatal(refusal)
	}
	r := authority.IssueRequest{AgentID: "local-dev", SessionID: "s-1", Scope: "*"}
	for _, class := range action.All() {
		r.Actions = append(r.Actions, string(class))
	}
	offline, err := authority.Issue(cfg, r)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := strings.Join(online.ActionSet, " "), strings.Join(offline.ActionSet, " "); a != b || strings.Contains(a, "payment.transfer") {
		t.Errorf("online %s\noffline %s", a, b)
	}
}
