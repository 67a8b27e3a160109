package mapping_test

import (
	"slices"
	"strings"
	"testing"

	"firma/internal/intent"
	"firma/internal/mapping"
	"firma/internal/verdict"
)

const acceptsRules = `version = 2
[[rules]]
method = "CONNECT"
host = "**.example.com"
action_class = "code.read"
tunnel_accepts = ["any_sni", "ech"]
[[rules]]
method = "CONNECT"
host = "api.example.com"
action_class = "code.read"
tunnel_accepts = ["missing_sni"]
[[rules]]
host = "api.example.com"
action_class = "repo.admin"
[[rules]]
host = "whole.example.com"
action_class = "code.read"
[[rules]]
method = "CONNECT"
host = "db.test:5432"
action_class = "code.read"
[[rules]]
host = "web.test:8443"
action_class = "code.read"
`

func tunnelTo(t *testing.T, target string) *intent.Call {
	t.Helper()
	c, err := intent.FromAuthority(target)
	if err != nil {
		t.Fatal(err)
	}
	return &c
}

// What a tunnel may begin with is said by the narrowest CONNECT rule, whichever
// rule it counts as.
func TestTunnelAccepts(t *testing.T) {
	table := load(t, acceptsRules)
	for target, want := range map[string]verdict.Accepts{
		"api.example.com:443":   verdict.AcceptMissingSNI,
		"x.example.com:443":     verdict.AcceptAnySNI | verdict.AcceptECH,
		"whole.example.com:443": verdict.AcceptAnySNI | verdict.AcceptECH,
		"example.com:443":       0, "db.test:5432": 0, "other.test:443": 0, "api.example.com:8443": 0,
	} {
		if got := table.TunnelAccepts(tunnelTo(t, target)); got != want {
			t.Errorf("%s: %b, want %b", target, got, want)
		}
	}
}

func TestOwnTunnel(t *testing.T) {
	table := load(t, acceptsRules)
	for target, want := range map[string]bool{
		"db.test:5432": true, "db.test:443": false, "web.test:8443": false, "api.example.com:443": false, "api.example.com:80": false, "api.example.com:22": false,
	} {
		if table.OwnTunnel(tunnelTo(t, target)) != want {
			t.Errorf("%s: %v", target, !want)
		}
	}
}

// --allow with a port is whatever is spoken there, and without one the web.
func TestAllowAccepts(t *testing.T) {
	for allow, want := range map[string]bool{"a.test": false, "a.test:443": false, "a.test:80": false, "a.test:5432": true} {
		rules, err := mapping.Allow(allow)
		if err != nil {
			t.Fatal(err)
		}
		table, err := mapping.NewTable(rules)
		if err != nil {
			t.Fatal(err)
		}
		target := allow
		if !strings.Contains(target, ":") {
			target += ":443"
		}
		c := tunnelTo(t, target)
		all := verdict.AcceptAnySNI | verdict.AcceptECH | verdict.AcceptMissingSNI | verdict.AcceptNonTLS
		if got := table.TunnelAccepts(c) == all; got != want || table.OwnTunnel(c) != want {
			t.Errorf("%s: %v", allow, got)
		}
	}
}

func TestTunnelAcceptsIsChecked(t *testing.T) {
	const head = "version = 2\n[[rules]]\nhost = \"a.test\"\naction_class = \"code.read\"\n"
	for key, want := range map[string]string{
		"method = \"CONNECT\"\ntunnel_accepts = []":                      "tunnel_accepts is empty",
		"method = \"CONNECT\"\ntunnel_accepts = \"ech\"":                 "tunnel_accepts must be a list",
		"method = \"CONNECT\"\ntunnel_accepts = [1]":                     "tunnel_accepts must hold strings",
		"method = \"CONNECT\"\ntunnel_accepts = [\"sni\"]":               `"sni" is none of missing_sni, ech, non_tls, any_sni`,
		"method = \"CONNECT\"\ntunnel_accepts = [\"ech\", \"ech\"]":      "ech is there twice",
		"tunnel_accepts = [\"ech\"]":                                     "only a rule with method CONNECT has it",
		"method = \"GET\"\ntunnel_accepts = [\"ech\"]":                   "only a rule with method CONNECT has it",
		"method = \"CONNECT\"\ntunnel_accept = [\"ech\"]":                `did you mean "tunnel_accepts"?`,
		"tunnel_accepts = [\"ech\"]\ntunnel_accepts = [\"ech\"]":         "set twice",
		"method = \"CONNECT\"\ntunnel_accepts = [\"ech\", [\"nested\"]]": "tunnel_accepts must hold strings",
	} {
		rules, _, err := mapping.Parse("r.toml", []byte(head+key+"\n"))
		if err == nil {
			_, err = mapping.NewTable(rules)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n%v", key, err)
		}
	}
}

func TestTunnelAcceptsSurvivesFormat(t *testing.T) {
	rules, _, err := mapping.Parse("r.toml", []byte(acceptsRules))
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := mapping.Parse("r.toml", mapping.Format(rules))
	if err != nil {
		t.Fatal(err)
	}
	for i := range rules {
		if !slices.Equal(rules[i].TunnelAccepts, again[i].TunnelAccepts) {
			t.Errorf("%q became %q", rules[i].TunnelAccepts, again[i].TunnelAccepts)
		}
	}
}

// A host's connections must be looked into where rules tell its calls apart.
func TestTellsApart(t *testing.T) {
	table := load(t, acceptsRules+`
[[rules]]
method = "GET"
host = "get.test:8443"
action_class = "code.read"
[[rules]]
host = "*.path.test"
path = "/a"
action_class = "code.read"
[[rules]]
host = "all.test"
path = "/**"
action_class = "code.read"
`)
	for host, want := range map[string]bool{"get.test": true, "x.path.test": true, "path.test": false, "y.x.path.test": false, "all.test": false,
		"api.example.com": false, "db.test": false, "web.test": false, "other.test": false} {
		if table.TellsApart(host) != want {
			t.Errorf("%s: %v", host, !want)
		}
	}
}
