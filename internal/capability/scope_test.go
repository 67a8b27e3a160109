package capability

import (
	"strings"
	"testing"

	"firma/internal/intent"
)

func get(t testing.TB, uri string) *intent.Call {
	t.Helper()
	c, err := intent.FromAbsolute("GET", uri)
	if err != nil {
		t.Fatalf("%s: %v", uri, err)
	}
	return &c
}

func connect(t testing.TB, authority string) *intent.Call {
	t.Helper()
	c, err := intent.FromAuthority(authority)
	if err != nil {
		t.Fatalf("%s: %v", authority, err)
	}
	return &c
}

func TestScopeCovers(t *testing.T) {
	tests := []struct {
		scope, call string // a call with "://" is a GET, else a CONNECT
		want        bool
	}{
		{"*", "http://anything.example/x", true},
		{"*", "anything.example:22", true},

		{"api.x.com", "http://api.x.com/", true},
		{"api.x.com", "http://api.x.com/v1/y?z=1", true},
		{"api.x.com", "http://API.X.COM./v1", true},
		{"api.x.com", "api.x.com:443", true},
		{"api.x.com", "api.x.com:80", true},
		{"api.x.com", "http://api.x.com.evil.com/", false},
		{"api.x.com", "api.x.com.evil.com:443", false},
		{"api.x.com", "http://evilapi.x.com/", false},
		{"api.x.com", "http://sub.api.x.com/", false},
		{"api.x.com", "http://x.com/", false},
		{"api.x.com", "http://api-x.com/", false},
		{"api.x.com", "http://evil.com/api.x.com", false},
		{"api.x.com", "http://api.x.com:8080/", false},
		{"api.x.com", "api.x.com:22", false},
		{"API.X.com", "http://api.x.com/", true},
		{"api.x.com/", "http://api.x.com/v1", true},
		{"api.x.com/", "api.x.com:443", true},
		{"api.x.com/*", "http://api.x.com/v1", true},
		{"api.x.com/*", "api.x.com:443", true},
		{"api.x.com/*", "http://api.x.com.evil.com/v1", false},

		{"api.x.com:8443", "http://api.x.com:8443/a", true},
		{"api.x.com:8443", "api.x.com:8443", true},
		{"api.x.com:8443", "http://api.x.com/a", false},
		{"api.x.com:443", "api.x.com:443", true},
		{"api.x.com:443", "http://api.x.com/", false},
		{"api.x.com:80", "http://api.x.com/", true},

		{"*.x.com", "http://api.x.com/", true},
		{"*.x.com", "api.x.com:443", true},
		{"*.x.com", "http://x.com/", false},
		{"*.x.com", "http://a.b.x.com/", false},
		{"*.x.com", "http://evilx.com/", false},
		{"*.x.com", "http://api.x.com.evil.com/", false},
		{"*.x.com", "http://api.x.com:8080/", false},
		{"*.x.com", "api.x.com:22", false},

		{"api.x.com/v1", "http://api.x.com/v1", true},
		{"api.x.com/v1", "http://api.x.com/v1/", true},
		{"api.x.com/v1", "http://api.x.com/v1/a/b", true},
		{"api.x.com/v1", "http://api.x.com/v1?x=/v2", true},
		{"api.x.com/v1", "http://api.x.com/%76%31/a", true},
		{"api.x.com/v1", "http://api.x.com/v2/../v1/a", true},
		{"api.x.com/v1", "http://api.x.com/v1alpha", false},
		{"api.x.com/v1", "http://api.x.com/v1;x", false},
		{"api.x.com/v1", "http://api.x.com/v1%3Bx", false},
		{"api.x.com/v1", "http://api.x.com/V1", false},
		{"api.x.com/v1", "http://api.x.com/", false},
		{"api.x.com/v1", "http://api.x.com/v1/../v2", false},
		{"api.x.com/v1", "http://api.x.com/v1/%2e%2e/v2", false},
		{"api.x.com/v1", "http://api.x.com/x/v1", false},
		{"api.x.com/v1", "http://api.x.com.evil.com/v1", false},
		{"api.x.com/v1", "api.x.com:443", false}, // a tunnel could reach any path
		{"api.x.com/v1/", "http://api.x.com/v1", true},
		{"api.x.com/v1/*", "http://api.x.com/v1", true},
		{"api.x.com/v1/*", "http://api.x.com/v1/a/b", true},
		{"api.x.com/v1/*", "http://api.x.com/v1alpha", false},
		{"api.x.com:8080/v1", "http://api.x.com:8080/v1/x", true},
		{"api.x.com:8080/v1", "http://api.x.com/v1/x", false},

		{"127.0.0.1", "http://127.0.0.1/", true},
		{"127.0.0.1", "http://2130706433/", true},
		{"127.0.0.1:8080", "http://0x7f.1:8080/", true},
		{"[::1]", "http://[::1]/", true},
		{"::1", "http://[0:0:0:0:0:0:0:1]/", true},
		{"[::1]:8080", "[::1]:8080", true},
		{"[::1]:8080", "http://[::1]/", false},
		{"[::1]/a", "http://[::1]/a/b", true},
		{"*.0.0.example", "http://127.0.0.example/", true},
		{"bücher.example", "http://xn--bcher-kva.example/", true},
	}
	for _, tt := range tests {
		s, err := ParseScope(tt.scope)
		if err != nil {
			t.Errorf("ParseScope(%q): %v", tt.scope, err)
			continue
		}
		var c *intent.Call
		if strings.Contains(tt.call, "://") {
			c = get(t, tt.call)
		} else {
			c = connect(t, tt.call)
		}
		if got := s.Covers(c); got != tt.want {
			t.Errorf("%q covers %s: %t", tt.scope, tt.call, got)
		}
	}
}

func TestScopeRefused(t *testing.T) {
	for _, s := range []string{
		"", " ", "**", "*.*", "*.", "*", // the last is replaced below
		"wttr.in*", "*.anthropic.com*", "*anthropic.com", "a*.x.com", "api.*.com", "*.x.com/v1", "*.x.com:443", "*.x.com/", "*.[::1]",
		"*.127.0.0.1", "*.1.2.3", "api.x.com/v*", "api.x.com/v1*", "api.x.com/*/x", "api.x.com/**", "api.x.com//", "/v1", "*/v1", "*/*",
		"http://api.x.com", "https://api.x.com/v1", "api.x.com:", "api.x.com:0", "api.x.com:65536", "api.x.com:080", "api.x.com:x", "api.x.com:-1",
		"api.x.com/v1?x=1", "api.x.com?x", "api.x.com/#a", "api.x.com/v1/../v2", "api.x.com/./v1", "api.x.com/%76", "api.x.com/a//b", "api.x.com/a%2Fb",
		"user@api.x.com", "api.x.com /v1", "api.x.com/v 1", "api.x.com\n", "api..x.com", ".x.com", "[::1", "[::1]x", "::1]", "[::1]:", "fe80::1%eth0",
		"api.x.com\\v1", "api.x.com,b.com", strings.Repeat("a", 300) + ".com", "a.com/" + strings.Repeat("b", 3000), "256.1.1.1", "\xff.com",
	} {
		if s == "*" {
			continue
		}
		got, err := ParseScope(s)
		if err == nil {
			t.Errorf("ParseScope(%q) = %q", s, got)
		}
		if got != (Scope{}) {
			t.Errorf("ParseScope(%q) returns a scope with its error", s)
		}
		if (ValidScope(s) == nil) != (err == nil) {
			t.Errorf("ValidScope(%q) disagrees", s)
		}
	}
}

func TestZeroScopeCoversNothing(t *testing.T) {
	if (Scope{}).Covers(get(t, "http://x.com/")) || (Scope{}).Covers(connect(t, "x.com:443")) {
		t.Error("the zero scope covers a call")
	}
	all, _ := ParseScope("*")
	if all.Covers(nil) || all.Covers(&intent.Call{}) {
		t.Error("a call without a destination is covered")
	}
}

// The package does not lean on others to keep a Call canonical.
func TestScopeOfOddCalls(t *testing.T) {
	tests := []struct {
		scope string
		call  intent.Call
	}{
		{"api.x.com/v1", intent.Call{Method: "CONNECT", Host: "api.x.com", Port: 443, Path: "/v1"}},
		{"*.x.com", intent.Call{Method: "GET", Host: ".x.com", Port: 443, Path: "/"}},
		{"*.x.com", intent.Call{Method: "GET", Host: "a.x.com", Port: 443, Path: "/", IsIP: true}},
		{"api.x.com", intent.Call{Method: "GET", Host: "api.x.com", Path: "/"}},
	}
	for _, tt := range tests {
		s, err := ParseScope(tt.scope)
		if err != nil {
			t.Fatal(err)
		}
		if s.Covers(&tt.call) {
			t.Errorf("%q covers %+v", tt.scope, tt.call)
		}
	}
}

func FuzzParseScope(f *testing.F) {
	for _, s := range []string{"*", "*.x.com", "api.x.com:8443/v1", "[::1]:80/a", "api.x.com/*", "2130706433", "bücher.example/é"} {
		f.Add(s, "http://api.x.com/v1/a")
	}
	f.Add("api.x.com", "http://api.x.com.evil.com/")
	f.Fuzz(func(t *testing.T, text, uri string) {
		s, err := ParseScope(text)
		if err != nil {
			return
		}
		// The canonical text means the same.
		again, err := ParseScope(s.String())
		if err != nil || again != s {
			t.Fatalf("%q → %q → %q, %v", text, s, again, err)
		}
		c, err := intent.FromAbsolute("GET", uri)
		if err != nil || !s.Covers(&c) {
			return
		}
		// Covered: the resource is the scope's text or goes on at a boundary.
		switch s.kind {
		case scopeHost, scopePath:
			if c.Host != s.host || !strings.HasPrefix(c.Path+"/", s.prefix+"/") {
				t.Fatalf("%q covers %s", text, uri)
			}
		case scopeWildcard:
			if !strings.HasSuffix(c.Host, s.host) || strings.Count(c.Host, ".") != strings.Count(s.host, ".") {
				t.Fatalf("%q covers %s", text, uri)
			}
		}
	})
}
