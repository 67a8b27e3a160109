package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"firma/internal/fault"
)

func parse(t *testing.T, name, text string) *Config {
	t.Helper()
	c, err := Parse(name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const full = `
[project]
name = "x"

[authority]
policy_dir = "policies"
max_ttl = "30m"

[sidecar.mapping]
rules_path = "rules.toml"
rules_paths = ["/abs/more.toml", "sub/x.toml"]
default_protected = false

[sidecar.egress]
allowed_cidrs = ["10.0.0.0/8"]

[sidecar.egress.hosts]
"plain.test" = "127.0.0.1:80"

[sidecar.capability_validation]
clock_skew_tolerance_seconds = 5

[sidecar.connector]
default_timeout_ms = 1500

[run]
default_profile = "mine"

[run.defaults]
env_set = { A = "1" }

[run.profiles.mine]
inherits = "codex"
identity_mode = "host_user"
env_passthrough = ["EDITOR"]
mounts = [{ source = "/srv/data", target = "/data", read_only = true }]

[run.profiles.mine.capability]
grace_seconds = 10
`

const fullYAML = `
project:
  name: x
authority:
  policy_dir: policies
  max_ttl: 30m
sidecar:
  mapping:
    rules_path: rules.toml
    rules_paths: [/abs/more.toml, sub/x.toml]
    default_protected: false
  egress:
    allowed_cidrs:
      - 10.0.0.0/8
    hosts:
      plain.test: 127.0.0.1:80
  capability_validation:
    clock_skew_tolerance_seconds: 5
  connector:
    default_timeout_ms: 1500
run:
  default_profile: mine
  defaults:
    env_set: {A: "1"}
  profiles:
    mine:
      inherits: codex
      identity_mode: host_user
      env_passthrough: [EDITOR]
      mounts:
        - source: /srv/data
          target: /data
          read_only: true
      capability:
        grace_seconds: 10
`

func TestValues(t *testing.T) {
	c := parse(t, "/etc/x/firma.toml", full)
	if c.Protected() || !(&Config{}).Protected() {
		t.Error("default_protected: false is not read, or not the default")
	}
	if got, want := c.RulesFiles(), []string{"/etc/x/rules.toml", "/abs/more.toml", "/etc/x/sub/x.toml"}; !cmp.Equal(got, want) {
		t.Errorf("rules files %q, want %q", got, want)
	}
	if got := c.Authority.PolicyDir; got != "/etc/x/policies" {
		t.Errorf("policy_dir %q is not based on the file's directory", got)
	}
	for key, tt := range map[string]struct {
		got, want time.Duration
	}{
		"max_ttl, with a unit":             {c.Authority.MaxTTL.Or(0), 30 * time.Minute},
		"bundle_ttl, absent":               {c.Authority.BundleTTL.Or(DefaultBundleTTL), 30 * time.Second},
		"clock_skew_tolerance, in seconds": {c.Sidecar.CapabilityValidation.ClockSkewTolerance.Or(0), 5 * time.Second},
		"default_timeout, in ms":           {c.Sidecar.Connector.DefaultTimeout.Or(0), 1500 * time.Millisecond},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %v, want %v", key, tt.got, tt.want)
		}
	}
	if c.Run.Profile != "mine" {
		t.Errorf("the older default_profile reads as %q", c.Run.Profile)
	}
	base, p, err := c.Profile("mine")
	if err != nil || base != "codex" {
		t.Fatalf("base %q, %v", base, err)
	}
	if p.EnvSet["A"] != "1" || p.IdentityMode != "host_user" || len(p.Mounts) != 1 || !p.Mounts[0].ReadOnly ||
		p.Capability.Grace.Or(0) != 10*time.Second || !cmp.Equal(p.EnvPassthrough, []string{"EDITOR"}) {
		t.Errorf("profile %+v", p)
	}
}

// One shape, two syntaxes.
func TestYAMLIsTheSame(t *testing.T) {
	a, b := parse(t, "/etc/x/firma.toml", full), parse(t, "/etc/x/firma.yaml", fullYAML)
	b.Path = a.Path
	if diff := cmp.Diff(a, b, cmp.AllowUnexported(Config{}, Duration{}, Size{})); diff != "" {
		t.Error(diff)
	}
}

func TestZeroAndEmpty(t *testing.T) {
	for name, text := range map[string]string{"a.toml": "", "a.yaml": "", "b.yaml": "# nothing\n", "c.yaml": "authority:\n"} {
		c := parse(t, name, text)
		if (c.Authority != nil) != (name == "c.yaml") {
			t.Errorf("%s: authority %v", name, c.Authority)
		}
	}
	if c := parse(t, "a.toml", "[sidecar.authority]\nrevocation_readiness_grace = \"0s\""); c.Sidecar.Authority.RevocationReadinessGrace.Or(time.Second) != 0 {
		t.Error("an explicit zero reads as absent")
	}
}

// Each mistake is named with its place, and its remedy where there is one.
func TestRefused(t *testing.T) {
	for _, tt := range []struct{ name, file, text, fault, want string }{
		{"syntax", "f.toml", "[sidecar\n", "ConfigParse", "f.toml:1:9: "},
		{"duplicate", "f.toml", "[run]\nprofile=\"a\"\nprofile=\"b\"\n", "ConfigParse", "f.toml:3:"},
		{"YAML syntax", "f.yaml", "sidecar: [\n", "ConfigParse", "f.yaml:"},
		{"YAML duplicate", "f.yaml", "run:\n  profile: a\n  profile: b\n", "ConfigParse", "f.yaml:3:3: "},
		{"YAML anchor", "f.yaml", "run: &a\n  profile: x\n", "ConfigParse", "f.yaml:1:6: "},
		{"YAML tagged key", "f.yaml", "!x run:\n  profile: x\n", "ConfigParse", "f.yaml:1:1: a key must be a plain name"},
		{"YAML null key", "f.yaml", "~: x\n", "ConfigParse", "f.yaml:1:1: a key must be a plain name"},
		{"YAML alias", "f.yaml", "sidecar: *a\n", "ConfigParse", "f.yaml:"},
		{"YAML merge", "f.yaml", "run:\n  <<: {profile: x}\n", "ConfigParse", "f.yaml:2:3: "},
		{"YAML tag", "f.yaml", "run: !!map {}\n", "ConfigParse", "f.yaml:1:"},
		{"two documents", "f.yaml", "run: {}\n---\nrun: {}\n", "ConfigParse", "2 YAML documents"},
		{"a list at the top", "f.yaml", "- run\n", "ConfigValidation", "is a table, not a list"},
		{"YAML no", "f.yaml", "sidecar:\n  mapping:\n    default_protected: no\n", "ConfigValidation", "is true or false, not a string"},
		{"large", "f.toml", strings.Repeat("#", maxText+1), "ConfigParse", "more than 128 KiB"},
		{"deep YAML", "f.yaml", strings.Repeat("[", 200), "ConfigParse", "nested more than 100 levels deep"},
		{"deep YAML list", "f.yaml", strings.Repeat("- ", 200), "ConfigParse", "nested more than 100 levels deep"},
		{"deep TOML", "f.toml", "a=" + strings.Repeat("[", 20000), "ConfigParse", "nested"},
		{"unknown table", "f.toml", "[sidcar]\n", "ConfigValidation", "f.toml:1:2: unknown key sidcar: did you mean sidecar?"},
		{"unknown key", "f.toml", "[sidecar.mapping]\n\ndefault_protect = true\n", "ConfigValidation", "f.toml:3:1: unknown key sidecar.mapping.default_protect: did you mean default_protected?"},
		{"key of another table", "f.toml", "[sidecar]\nallowed_cidrs = []\n", "ConfigValidation", "did you mean allowed_cidrs in [sidecar.egress]?"},
		{"inline", "f.toml", "sidecar = { mapping = { nope = 1 } }\n", "ConfigValidation", "f.toml:1:25: unknown key sidecar.mapping.nope"},
		{"list of tables", "f.toml", "[[run.profiles.a.mounts]]\nsource='/a'\n[[run.profiles.a.mounts]]\nsorce='/b'\n", "ConfigValidation", "f.toml:4:1: unknown key run.profiles.a.mounts[1].sorce: did you mean source?"},
		{"control characters", "f.toml", "\"a\\u001b[2J\" = 1\n", "ConfigValidation", `unknown key a\x1b[2J`},
		{"type", "f.toml", "[sidecar.mapping]\ndefault_protected = \"no\"\n", "ConfigValidation", "sidecar.mapping.default_protected is true or false, not a string"},
		{"string for list", "f.toml", "[sidecar.mapping]\nrules_paths = \"a\"\n", "ConfigValidation", "is a list, not a string"},
		{"list item", "f.toml", "[sidecar.mapping]\nrules_paths = [\"a\", 2]\n", "ConfigValidation", "f.toml:2:21: sidecar.mapping.rules_paths[1] is a string, not a number"},
		{"date", "f.toml", "[run]\nprofile = 2026-01-01\n", "ConfigValidation", "run.profile is a string, not a date"},
		{"enum", "f.toml", "[sidecar]\nmode = \"loose\"\n", "ConfigValidation", `sidecar.mode is "enforce", not loose`},
		{"later word", "f.toml", "[sidecar]\nmode = \"monitor\"\n", "ConfigValidation", `is not built in this version; there is "enforce"`},
		{"unbuilt key", "f.toml", "[sidecar.secret_gateway]\nx = true\n", "ConfigValidation", "sidecar.secret_gateway is not built in this version: secret mediation"},
		{"two places", "f.toml", "[sidecar.interceptor]\nmode = \"grpc\"\nlisten_addr = \"127.0.0.1:1\"\nsocket_path = \"/s\"\n", "ConfigValidation", "socket_path is set together with listen_addr"},
		{"half a pair", "f.toml", "[sidecar.interceptor.https_mitm]\nca_cert_path = \"a\"\n", "ConfigValidation", "ca_cert_path and ca_key_path are set together"},
		{"nothing to look into", "f.toml", "[sidecar.interceptor.https_mitm]\nintercept_hosts = []\n", "ConfigValidation", "set enabled = false"},
		{"pattern", "f.toml", "[sidecar.interceptor.https_mitm]\nbypass_hosts = [\"a.test\", \"a*.test\"]\n", "ConfigValidation", "bypass_hosts[1] = a*.test is no host"},
		{"wide pattern", "f.toml", "[sidecar.interceptor.https_mitm]\nstrict_hosts = [\"*.com\"]\n", "ConfigValidation", "strict_hosts[0] = *.com is no host"},
		{"number for duration", "f.toml", "[authority]\nmax_ttl = 3600\n", "ConfigValidation", `authority.max_ttl is a duration such as "30s", not a number`},
		{"bad duration", "f.toml", "[authority]\nmax_ttl = \"1 hour\"\n", "ConfigValidation", "is not a duration"},
		{"zero duration", "f.toml", "[authority]\nmax_ttl = \"0s\"\n", "ConfigValidation", "authority.max_ttl must be more than zero"},
		{"negative duration", "f.toml", "[authority]\nmax_ttl = \"-1s\"\n", "ConfigValidation", "must be more than zero"},
		{"older with unit", "f.toml", "[authority]\nmax_ttl_seconds = \"1h\"\n", "ConfigValidation", "authority.max_ttl_seconds is a whole number, not a string; newer files write max_ttl with a unit"},
		{"older overflow", "f.toml", "[authority]\nmax_ttl_seconds = 9223372036854775807\n", "ConfigValidation", "out of range"},
		{"both names", "f.toml", "[authority]\nmax_ttl = \"1h\"\nmax_ttl_seconds = 3600\n", "ConfigValidation", "f.toml:3:1: max_ttl and max_ttl_seconds are one setting, set twice: keep max_ttl"},
		{"negative number", "f.toml", "[sidecar.interceptor]\nmax_connections = -1\n", "ConfigValidation", "must be more than zero"},
		{"empty path", "f.toml", "[sidecar.mapping]\nrules_path = \"\"\n", "ConfigValidation", "rules_path is empty; leave it out instead"},
		{"NUL", "f.toml", "[sidecar.mapping]\nrules_path = \"a\\u0000b\"\n", "ConfigValidation", "holds a NUL byte"},
		{"CIDR", "f.toml", "[sidecar.egress]\nallowed_cidrs = [\"10.0.0.0/8\", \"10.0.0.1\"]\n", "ConfigValidation", "f.toml:2:32: sidecar.egress.allowed_cidrs[1] = 10.0.0.1 is not a CIDR"},
		{"host address", "f.toml", "[sidecar.egress.hosts]\n\"a.test\" = \"b.test\"\n", "ConfigValidation", "sidecar.egress.hosts.a.test = b.test is not an address"},
		{"host wildcard", "f.toml", "[sidecar.egress.hosts]\n\"*\" = \"192.0.2.1\"\n", "ConfigValidation", "sidecar.egress.hosts.* is for one host"},
		{"host with port", "f.toml", "[sidecar.egress.hosts]\n\"a.test:80\" = \"192.0.2.1\"\n", "ConfigValidation", "sidecar.egress.hosts.a.test:80 is for one host"},
		{"host twice", "f.toml", "[sidecar.egress.hosts]\n\"a.test\" = \"192.0.2.1\"\n\"A.test.\" = \"192.0.2.2\"\n", "ConfigValidation", "f.toml:2:1: sidecar.egress.hosts.a.test is the same host as A.test."},
		{"file sink without a file", "f.toml", "[sidecar.audit]\nsink = \"file\"\n", "ConfigValidation", `f.toml:2:1: sidecar.audit.sink = "file" needs file_path`},
		{"backoff", "f.toml", "[sidecar.authority]\nreconnect_min_backoff='2s'\nreconnect_max_backoff='1s'\n", "ConfigValidation", "is longer than reconnect_max_backoff"},
		{"credentials", "f.toml", "[sidecar.authority.credentials]\nworkspace_id='a'\nsidecar_id='b'\n", "ConfigValidation", "needs one of pre_shared_key_path and pre_shared_key_env"},
		{"fail open", "f.toml", "[run.defaults]\nnetwork = { fail_closed = false }\n", "ConfigValidation", "run.defaults.network.fail_closed = false is not built"},
		{"profile name", "f.toml", "[run.profiles.\"a/b\"]\n", "ConfigValidation", "a/b is not a name for a profile"},
		{"built-in inherits", "f.toml", "[run.profiles.codex]\ninherits = \"generic\"\n", "ConfigValidation", "codex is built in"},
		{"defaults inherit", "f.toml", "[run.defaults]\ninherits = \"codex\"\n", "ConfigValidation", "run.defaults.inherits is for a profile"},
		{"backend", "f.toml", "[run.profiles.a]\nbackend = \"docker\"\n", "ConfigValidation", "not docker"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(tt.file, []byte(tt.text))
			if fault.NameOf(err) != tt.fault || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s … %s", err, tt.fault, tt.want)
			}
		})
	}
}

func TestSeveralMistakesAtOnce(t *testing.T) {
	_, err := Parse("f.toml", []byte("[run]\nporfile = 1\n[sidecar]\nmode = 3\n[sidecar.mapping]\nrules_path = \"\"\n"))
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], "f.toml:2:1") || !strings.Contains(lines[1], "f.toml:4:1") || !strings.Contains(lines[2], "f.toml:6:1") {
		t.Errorf("not one line per mistake in the order of the file:\n%v", err)
	}
}

func TestManyMistakesAreCutShort(t *testing.T) {
	_, err := Parse("f.toml", []byte(strings.Repeat("[run.profiles.a]\n", 1)+manyKeys(100)))
	if got := strings.Count(err.Error(), "\n"); got != maxProblems || !strings.Contains(err.Error(), "and 80 more") {
		t.Errorf("%d lines:\n%v", got, err)
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("zz" + strings.Repeat("q", i) + " = 1\n")
	}
	return b.String()
}

func FuzzTOML(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte("[[run.profiles.a.mounts]]\n[run.profiles.a.mounts.x]\n"))
	f.Add([]byte("a = [[{b = 1}, {}], []]\n"))
	f.Add([]byte("a.\"b c\".d = [ # x\n 'e', \"\\u00e9\\n<&>\u2028\" ]\n[[g]]\nh = -9223372036854775808\n[g.i]\nj = true\n[[g]]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		parsesOrSaysWhy(t, "f.toml", data)
		p := problems{path: "f.toml"}
		root := p.read(data)
		if root == nil {
			return
		}
		checkPlaces(t, root, data)
		sameAsYAML(t, root, data)
	})
}

// checkPlaces: where a key is said to be, it is, bare or quoted.
func checkPlaces(t *testing.T, n *node, data []byte) {
	lines := strings.Split(string(data), "\n")
	for key, child := range n.table {
		if at := child.at; at.line > 0 {
			if at.line > len(lines) || at.column < 1 || at.column > len(lines[at.line-1]) {
				t.Fatalf("%q is at %+v of %q", key, at, data)
			}
			if got := lines[at.line-1][at.column-1:]; !strings.HasPrefix(got, key) && got[0] != '"' && got[0] != '\'' {
				t.Fatalf("%q is at %+v of %q, where %q is", key, at, data, got)
			}
		}
		checkPlaces(t, child, data)
	}
	for _, child := range n.list {
		checkPlaces(t, child, data)
	}
}

// plain is a node's value without its place; false where only TOML has its like, or
// where JSON writes a float as an integer.
func plain(n *node) (v any, ok bool) {
	switch n.kind {
	case table:
		m := map[string]any{}
		for key, child := range n.table {
			if m[key], ok = plain(child); !ok {
				return nil, false
			}
		}
		return m, true
	case list:
		l := []any{}
		for _, child := range n.list {
			v, ok := plain(child)
			if !ok {
				return nil, false
			}
			l = append(l, v)
		}
		return l, true
	}
	switch n.value.(type) {
	case nil, string, bool, int64:
		return n.value, true
	}
	return nil, false
}

// sameAsYAML: what TOML says is the same as YAML, which JSON is.
func sameAsYAML(t *testing.T, root *node, data []byte) {
	want, ok := plain(root)
	text, err := json.Marshal(want)
	if !ok || err != nil || tooDeep(text) {
		return
	}
	p := problems{path: "f.yaml"}
	other := p.read(text)
	if other == nil {
		t.Fatalf("%q as %s: %v", data, text, p.fault("x", ""))
	}
	if got, _ := plain(other); !reflect.DeepEqual(got, want) {
		t.Fatalf("%q as %s is %#v, want %#v", data, text, got, want)
	}
}

func FuzzYAML(f *testing.F) {
	f.Add([]byte(fullYAML))
	f.Add([]byte("a: &b [*b]\n"))
	f.Add([]byte("? {a: b}\n: c\n"))
	f.Add([]byte("! ! :"))
	f.Add([]byte("~: x\n"))
	f.Add([]byte("!x sidecar: {}\n&y run: {}\n"))
	f.Add([]byte("a: 0o17\nb: [0x1F, 1_000, -0, +1, 010]\nc: \"\\x41\\u00e9\"\nd: 'it''s'\ne: |\n  x\n  y\nf: >-\n  x\n  y\n\"g\": yes\nh: ~\ni: null\n1: j\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		parsesOrSaysWhy(t, "f.yaml", data)
		p := problems{path: "f.yaml"}
		root := p.read(data)
		if root == nil || p.fault("x", "") != nil || root.kind != table {
			return
		}
		got, ok := plain(root)
		want := map[string]any{} // by the library's own decoder
		if !ok || yaml.Unmarshal(data, &want) != nil || len(root.table) == 0 && len(want) == 0 {
			return
		}
		if g, w := fmt.Sprintf("%#v", got), fmt.Sprintf("%#v", signed(want)); g != w {
			t.Fatalf("%q is %s, decoded %s", data, g, w)
		}
	})
}

// signed has the decoder's numbers as nodes have them.
func signed(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, val := range v {
			v[key] = signed(val)
		}
	case []any:
		for i, val := range v {
			v[i] = signed(val)
		}
	case uint64:
		return int64(v)
	case nil:
		return nil
	}
	return v
}

// parsesOrSaysWhy: any bytes are a configuration or a typed error; what they say
// about themselves holds no control characters for a terminal.
func parsesOrSaysWhy(t *testing.T, name string, data []byte) {
	if len(data) > 1<<14 {
		t.Skip()
	}
	c, err := Parse(name, data)
	if (c == nil) == (err == nil) {
		t.Fatalf("neither or both: %v, %v", c, err)
	}
	if err != nil && fault.NameOf(err) == "" {
		t.Fatalf("an error without a name: %v", err)
	}
	for _, r := range Effect(name, data) {
		if r < ' ' && r != '\n' || r == 0x7f {
			t.Fatalf("control character %q in %q", r, Effect(name, data))
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"1B": 1, "512KiB": 512 << 10, "4MiB": 4 << 20, "4 MiB": 4 << 20, "1GiB": 1 << 30, "16MB": 16e6, "2KB": 2000, "3GB": 3e9,
		"": -1, "4": -1, "-4MiB": -1, "+4MiB": -1, "1.5MiB": -1, "MiB": -1, "9223372036854775807KiB": -1, "4mib": -1, "0x4B": -1} {
		if got, err := parseSize(text); err != nil && want != -1 || err == nil && got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	c := parse(t, "/etc/x/firma.toml", "[sidecar.interceptor]\ntotal_body_budget = \"3MiB\"\n")
	if got := c.Sidecar.Interceptor.BodyBudget; got.Or(1) != 3<<20 || showSize(got) != "3MiB" {
		t.Errorf("%+v", got)
	}
	if got := c.Sidecar.Interceptor.BodyBudget; (Size{}).Or(7) != 7 || showSize(Size{}) != "" || showSize(Size{5000, true}) != "5000B" {
		t.Errorf("%+v", got)
	}
}
