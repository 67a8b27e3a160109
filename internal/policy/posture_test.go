package policy

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"firma/internal/action"
	"firma/internal/fault"
	"firma/internal/verdict"
)

// The effects of the shipped postures, one letter each for strict, dev and
// dev-with-delete-watch: a allow, f forbid (no other policy can permit it), d
// deny (nothing permits it).
var effects = map[action.Class]string{
	"credential.read":             "aaa",
	"communication.external.send": "aaa",
	"communication.internal.send": "aaa",

	"code.read":           "daa",
	"code.review.read":    "daa",
	"issue.read":          "daa",
	"security.alert.read": "daa",
	"notification.manage": "daa",
	"code.write":          "daa",
	"code.review.submit":  "daa",
	"issue.write":         "daa",
	"code.merge":          "daa",
	"system.install":      "daa",

	"code.destructive": "ffa",

	"payment.transfer":             "fff",
	"payment.purchase":             "fff",
	"browser.purchase":             "fff",
	"account.permission.change":    "fff",
	"repo.admin":                   "fff",
	"credential.write":             "fff",
	"memory.cross_namespace.read":  "fff",
	"memory.cross_namespace.write": "fff",

	"repo.lifecycle":                "ddd",
	"payment.read":                  "ddd",
	"payment.cancel":                "ddd",
	"payment.refund":                "ddd",
	"payment.payout":                "ddd",
	"payment.dispute":               "ddd",
	"payment.subscription":          "ddd",
	"payment.method.setup":          "ddd",
	"payment.method.manage":         "ddd",
	"payment.catalog.write":         "ddd",
	"payment.tax":                   "ddd",
	"customer.read":                 "ddd",
	"customer.write":                "ddd",
	"communication.external.read":   "ddd",
	"communication.external.draft":  "ddd",
	"communication.external.manage": "ddd",
	"communication.external.delete": "ddd",
	"communication.external.filter": "ddd",
	"filesystem.read":               "ddd",
	"filesystem.write":              "ddd",
	"filesystem.delete":             "ddd",
	"system.execute":                "ddd",
	"calendar.read":                 "ddd",
	"calendar.create":               "ddd",
	"calendar.update":               "ddd",
	"calendar.delete":               "ddd",
	"document.read":                 "ddd",
	"document.write":                "ddd",
	"document.delete":               "ddd",
	"document.schema.write":         "ddd",
}

func postureText(t testing.TB, name string) string {
	t.Helper()
	text, err := Posture(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPostureEffects(t *testing.T) {
	if len(effects) != len(action.All()) {
		t.Errorf("the table has %d classes, the registry %d", len(effects), len(action.All()))
	}
	for i, name := range PostureNames() {
		text := postureText(t, name)
		alone, opened := mustCompile(t, text), mustCompile(t, text, permitAll)
		for _, class := range action.All() {
			r := request()
			r.Class = class
			got := "d"
			switch {
			case alone.Evaluate(r).Outcome == verdict.Allow:
				got = "a"
			case opened.Evaluate(r).Outcome != verdict.Allow:
				got = "f"
			}
			if want := effects[class]; want == "" || got != want[i:i+1] {
				t.Errorf("%s: %s is %q, want %q", name, class, got, want)
			}
		}
	}
}

func TestPosturesKeepMetadataShut(t *testing.T) {
	shut := []string{
		"169.254.169.254", "169.254.169.254:8080", "::ffff:169.254.169.254", "[::ffff:169.254.169.254]:8080",
		"169.254.169.254.nip.io", "169.254.170.2", "fd00:ec2::254", "[fd00:ec2::254]:8080",
		"metadata.google.internal", "metadata.google.internal:8080",
	}
	open := []string{"api.github.com", "169.254.1.1", "example.com:8080"}
	for _, name := range PostureNames() {
		b := mustCompile(t, postureText(t, name), permitAll)
		check := func(hosts []string, want verdict.Outcome) {
			for _, host := range hosts {
				r := request()
				r.Host, r.ResourceID, r.Class = host, host+"/latest/meta-data", "communication.external.send"
				if got := b.Evaluate(r); got.Outcome != want {
					t.Errorf("%s: %s: %+v", name, host, got)
				}
			}
		}
		check(shut, verdict.Deny)
		check(open, verdict.Allow)
	}
}

func TestPostureUnknown(t *testing.T) {
	for _, name := range []string{"", "Dev", "../dev", "prod"} {
		if text, err := Posture(name); text != nil || fault.NameOf(err) != "PostureUnknown" {
			t.Errorf("Posture(%q) = %q, %v", name, text, err)
		}
	}
}

func TestPostureIsACopy(t *testing.T) {
	text, _ := Posture("dev")
	clear(text)
	if again := postureText(t, "dev"); strings.Contains(again, "\x00") {
		t.Error("a caller changed the posture")
	}
}

func TestIssuancePermitsEveryClass(t *testing.T) {
	b := mustCompile(t, string(Issuance()))
	for _, class := range action.All() {
		if got := b.Evaluate(Request{AgentID: "a", Class: class, ResourceID: "*"}); got.Outcome != verdict.Allow {
			t.Errorf("%s: %+v", class, got)
		}
	}
}

func TestAllow(t *testing.T) {
	b := mustCompile(t, Allow("api.example.com"), Allow("api.example.com:8443"))
	tests := []struct {
		host   string
		class  action.Class
		want   verdict.Outcome
		policy []string
	}{
		{"api.example.com", "communication.external.send", verdict.Allow, []string{"allow:api.example.com"}},
		{"api.example.com:8443", "communication.external.send", verdict.Allow, []string{"allow:api.example.com:8443"}},
		{"api.example.com:8444", "communication.external.send", verdict.Deny, nil},
		{"api.example.com.evil.com", "communication.external.send", verdict.Deny, nil},
		{"", "communication.external.send", verdict.Deny, nil},
		{"api.example.com", "code.read", verdict.Deny, nil},
	}
	for _, tt := range tests {
		r := request()
		r.Host, r.Class = tt.host, tt.class
		got := b.Evaluate(r)
		if got.Outcome != tt.want || !cmp.Equal(got.Policies, tt.policy) {
			t.Errorf("%s on %q: %+v", tt.class, tt.host, got)
		}
	}
}

// allowsOnly fails when Allow(host) compiles to anything but one permit for
// exactly that host.
func allowsOnly(t *testing.T, host string) {
	t.Helper()
	b, err := Compile("v", []byte(Allow(host)), nil)
	if err != nil {
		return // refused: nothing is permitted
	}
	if b.Len() != 1 {
		t.Fatalf("Allow(%q) is %d policies", host, b.Len())
	}
	r := request()
	for _, class := range []action.Class{"communication.external.send", "repo.admin"} {
		for _, other := range []string{host, "other.example.com", host + ".example.com"} {
			r.Class, r.Host = class, other
			want := class == "communication.external.send" && other == host && host != "" && utf8.ValidString(host)
			if got := b.Evaluate(r).Outcome == verdict.Allow; got != want {
				t.Errorf("Allow(%q): %s on %q allowed: %t", host, class, other, got)
			}
		}
	}
}

func TestAllowInjection(t *testing.T) {
	for _, host := range []string{
		"", "*", "a*", `x" }; permit (principal, action, resource); //`, `x\`, `x\"`, `x\\" || true || "`, "x\n", "x\x00", "\u2028", "\xff", // not text: permits nothing

		`" || resource.host like "*`, "ünïcode.example", `\u{22} || true || \u{22}`, `\*`, "a/*", "*/", "//",
	} {
		allowsOnly(t, host)
	}
}

func FuzzAllow(f *testing.F) {
	f.Add("example.com")
	f.Add(`" }; permit (principal, action, resource); //`)
	f.Add(`\u{22}`)
	f.Fuzz(allowsOnly)
}
