package mapping_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"firma/internal/fault"
	"firma/internal/mapping"
)

func TestParse(t *testing.T) {
	rules, warnings, err := mapping.Parse("m.toml", []byte(`
version = 2 # comment

[[rules]]
method = "GET"
host = "API.Example.com.:443"
path = "//a/%62/../*/"
query = { service = "x", "a.b" = "" }
action_class = "code.read"

[[rules]]
action_class = 'code.write'
host = "**.example.com:8443"
query.a = "1"
query.b = "2"

[[rules]]
host = "[0:0::1]"
path = "/**"
action_class = "code.merge"
[rules.query]
q = """multi"""
`))
	want := []mapping.Rule{
		{Method: "GET", Host: "api.example.com", Path: "/a/*", Query: map[string]string{"service": "x", "a.b": ""}, ActionClass: "code.read", Source: "m.toml:4"},
		{Host: "**.example.com:8443", Query: map[string]string{"a": "1", "b": "2"}, ActionClass: "code.write", Source: "m.toml:11"},
		{Host: "::1", Path: "/**", Query: map[string]string{"q": "multi"}, ActionClass: "code.merge", Source: "m.toml:17"},
	}
	if d := cmp.Diff(want, rules); err != nil || len(warnings) > 0 || d != "" {
		t.Errorf("%v, %q (-want +got):\n%s", err, warnings, d)
	}
}

func TestParseRefuses(t *testing.T) {
	const ok = "host=\"a.test\"\naction_class=\"code.read\"\n"
	for _, tc := range []struct{ name, file, fault, want string }{
		{"empty", "", "InvalidRulesFile", "m.toml:1:1: the file has no [[rules]]"},
		{"comment only", "# nothing\n", "InvalidRulesFile", "no [[rules]]"},
		{"syntax", "[[rules]]\nhost = a.test\n", "InvalidRulesFile", "m.toml:2:"},
		{"unclosed", "[[rules]]\nhost = \"a", "InvalidRulesFile", "m.toml:2:"},
		{"singular", "[[rule]]\n" + ok, "InvalidRulesFile", `m.toml:1:3: unknown table "rule"; did you mean "rules"?`},
		{"one bracket", "[rules]\n" + ok, "InvalidRulesFile", "write [[rules]]"},
		{"inline rules", "rules = []\n", "InvalidRulesFile", "m.toml:1:1: write each rule as a [[rules]] table"},
		{"other table", "[sidecar]\nx = 1\n[[rules]]\n" + ok, "InvalidRulesFile", `m.toml:1:2: unknown table "sidecar"`},
		{"top key", "hosts = 1\n[[rules]]\n" + ok, "InvalidRulesFile", `m.toml:1:1: unknown key "hosts"`},
		{"version", "version = 3\n[[rules]]\n" + ok, "InvalidRulesFile", "version must be 2"},
		{"version text", "version = \"2\"\n[[rules]]\n" + ok, "InvalidRulesFile", "version must be 2"},
		{"version twice", "version = 2\nversion = 2\n[[rules]]\n" + ok, "InvalidRulesFile", "version is set twice"},
		{"unknown key", "[[rules]]\nmethd = \"GET\"\n" + ok, "InvalidRulesFile", `m.toml:2:1: unknown key "methd"; did you mean "method"?`},
		{"unknown key far", "[[rules]]\n" + ok + "  port = 80\n", "InvalidRulesFile", `m.toml:4:3: unknown key "port"`},
		{"dotted key", "[[rules]]\n" + ok + "host.name = \"x\"\n", "InvalidRulesFile", `unknown key "host.name"`},
		{"sub table", "[[rules]]\n" + ok + "[rules.host]\n", "InvalidRulesFile", `unknown table "rules.host"`},
		{"query without rule", "[rules.query]\na = \"1\"\n", "InvalidRulesFile", `unknown table "rules.query"`},
		{"key twice", "[[rules]]\nhost=\"b.test\"\n" + ok, "InvalidRulesFile", "m.toml:3:1: host is set twice"},
		{"no host", "[[rules]]\naction_class=\"code.read\"\n", "InvalidRulesFile", "m.toml:1:3: the rule has no host"},
		{"no class", "[[rules]]\nhost=\"a.test\"\n", "InvalidRulesFile", "the rule has no action_class"},
		{"empty host", "[[rules]]\nhost=\"\"\naction_class=\"code.read\"\n", "InvalidRulesFile", "m.toml:2:1: host is empty"},
		{"empty path", "[[rules]]\npath=\"\"\n" + ok, "InvalidRulesFile", "path is empty"},
		{"empty method", "[[rules]]\nmethod=\"\"\n" + ok, "InvalidRulesFile", "method is empty"},
		{"not a string", "[[rules]]\nmethod=1\n" + ok, "InvalidRulesFile", "method must be a string"},
		{"class", "[[rules]]\nhost=\"a.test\"\naction_class=\"code.raed\"\n", "NonExistingActionClass", `m.toml:3:1: there is no action class "code.raed"; did you mean "code.read"?`},
		{"reserved class", "[[rules]]\nhost=\"a.test\"\naction_class=\"memory.read\"\n", "NonExistingActionClass", "is reserved"},
		{"method case", "[[rules]]\nmethod=\"get\"\n" + ok, "InvalidRulesFile", "m.toml:2:1: methods are upper case: write GET"},
		{"method unknown", "[[rules]]\nmethod=\"PURGE\"\n" + ok, "InvalidRulesFile", "none of GET"},
		{"method trace", "[[rules]]\nmethod=\"TRACE\"\n" + ok, "InvalidRulesFile", "none of GET"},
		{"method any", "[[rules]]\nmethod=\"*\"\n" + ok, "InvalidRulesFile", "leave it out for any method"},
		{"query type", "[[rules]]\nquery=\"a=1\"\n" + ok, "InvalidRulesFile", "query must be a table"},
		{"query value", "[[rules]]\nquery={a=1}\n" + ok, "InvalidRulesFile", `the query parameter "a" must be a string`},
		{"query empty", "[[rules]]\nquery={}\n" + ok, "InvalidRulesFile", "query is empty"},
		{"query no name", "[[rules]]\nquery={\"\"=\"1\"}\n" + ok, "InvalidRulesFile", "has no name"},
		{"query nested", "[[rules]]\nquery={a.b=\"1\"}\n" + ok, "InvalidRulesFile", "must be quoted"},
		{"query twice", "[[rules]]\nquery={a=\"1\"}\nquery={b=\"1\"}\n" + ok, "InvalidRulesFile", "query is set twice"},
		{"query mixed", "[[rules]]\nquery={a=\"1\"}\nquery.b=\"1\"\n" + ok, "InvalidRulesFile", "query is set twice"},
		{"query mixed back", "[[rules]]\nquery.b=\"1\"\nquery={a=\"1\"}\n" + ok, "InvalidRulesFile", "query is set twice"},
		{"query same name", "[[rules]]\nquery={a=\"1\",a=\"2\"}\n" + ok, "InvalidRulesFile", "set twice"},
		{"connect path", "[[rules]]\nmethod=\"CONNECT\"\npath=\"/x\"\n" + ok, "InvalidRulesFile", "m.toml:3:1: a tunnel shows no path"},
		{"connect query", "[[rules]]\nmethod=\"CONNECT\"\nquery={a=\"1\"}\n" + ok, "InvalidRulesFile", "a tunnel shows no query"},
		{"duplicate", "[[rules]]\n" + ok + "[[rules]]\nhost=\"A.test:443\"\naction_class=\"code.write\"\n", "DuplicateRule", "m.toml:4:3: this rule repeats m.toml:1"},
	} {
		rules, _, err := mapping.Parse("m.toml", []byte(tc.file))
		if fault.NameOf(err) != tc.fault || !strings.Contains(err.Error(), tc.want) || rules != nil {
			t.Errorf("%s: %v\nwant %s with %q", tc.name, err, tc.fault, tc.want)
		}
		var f *fault.Error
		if errors.As(err, &f) && f.Fix == "" {
			t.Errorf("%s: no fix", tc.name)
		}
	}
}

func TestParseRefusesPatterns(t *testing.T) {
	for _, host := range []string{"**", "a.*.test", "a*.test", "*a.test", "*.*.test", "**.*.test", "*.", "**.", "*..test", "***.test",
		"http://a.test", "a.test/x", "user@a.test", "a.test:0", "a.test:65536", "a.test:", "a b.test", "a..test", "*.1.2.3", "*.127.0.0.1",
		"**.[::1]", "*:", "*:0", "*:x", "1.2.3.4.5", "[fe80::1%25eth0]", "a.test:*", "-a.test"} {
		checkRefusedRule(t, "host", mapping.Rule{Host: host, ActionClass: "code.read"})
	}
	for _, path := range []string{"x", "*", "**", "/a*", "/*a", "/a*b", "/***", "/**/a", "/**/**", "/a?b=1", "/a#b", "/a b", "/..", "/a/../../b",
		"/a%2fb", "/%00", "/%zz", "/a;b=1", "/a%3Bb", "/\\a", strings.Repeat("/a", 65)} {
		checkRefusedRule(t, "path", mapping.Rule{Host: "a.test", Path: path, ActionClass: "code.read"})
	}
	if _, err := mapping.NewTable([]mapping.Rule{{Host: "a.test", Query: map[string]string{"a": "\xff"}, ActionClass: "code.read"}}); err == nil {
		t.Error("NewTable accepts a query that is not UTF-8")
	}
	checkRefusedRule(t, "action_class", mapping.Rule{Host: "a.test"})
}

// checkRefusedRule expects both ways in, the file and the slice of rules, to
// refuse the rule and to name the key.
func checkRefusedRule(t *testing.T, key string, r mapping.Rule) {
	t.Helper()
	r.Source = "here"
	_, err := mapping.NewTable([]mapping.Rule{r})
	if fault.NameOf(err) != "InvalidRulesFile" || !strings.Contains(err.Error(), "here: "+key+": ") {
		t.Errorf("NewTable(%+v): %v", r, err)
	}
	if _, _, err := mapping.Parse("m.toml", mapping.Format([]mapping.Rule{r})); err == nil {
		t.Errorf("Parse accepts %+v", r)
	}
}

func TestParseReportsEverythingAtOnce(t *testing.T) {
	_, _, err := mapping.Parse("m.toml", []byte("[[rules]]\nhots=\"a\"\n[[rules]]\nmethdo=\"GET\"\n[x]\n"))
	want := "InvalidRulesFile: m.toml:2:1: unknown key \"hots\"; did you mean \"host\"?\n" +
		"m.toml:4:1: unknown key \"methdo\"; did you mean \"method\"?\nm.toml:5:2: unknown table \"x\""
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

func TestOlderReading(t *testing.T) {
	const file = `
[[rules]]
host = "*.a.test"
path = "*"
action_class = "code.read"
[[rules]]
method = "GET"
host = "b.test"
path = "/repos/*/*"
action_class = "code.read"
[[rules]]
method = "GET"
host = "b.test"
path = "/repos/*/*/alerts*"
action_class = "security.alert.read"
[[rules]]
method = "GET"
host = "b.test"
path = "/*/*.git/info/refs"
action_class = "code.read"
[[rules]]
method = "GET"
host = "b.test"
path = "/*/*/info/refs"
action_class = "code.read"
[[rules]]
host = "*"
path = "/exact"
action_class = "code.read"
`
	for _, version := range []string{"", "version = 1\n"} {
		rules, warnings, err := mapping.Parse("m.toml", []byte(version+strings.TrimPrefix(file, "\n")))
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{
			`host "*.a.test": "*" is now exactly one label`, `path "*" is read as "/**"`,
			`path "/repos/*/*": each "*" is now exactly one segment`,
			`path "/repos/*/*/alerts*" is read as "/repos/*/*/alerts/**"`,
			`path "/*/*.git/info/refs" is read as "/*/*/info/refs"`,
			`path "/*/*/info/refs": each`, `now say the same`,
			`every host`,
		} {
			if i >= len(warnings) || !strings.Contains(warnings[i], want) || !strings.HasPrefix(warnings[i], "m.toml:") {
				t.Errorf("warning %d of %q: want %q", i, warnings, want)
			}
		}
		table, err := mapping.NewTable(rules)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, table, "POST", "http://x.a.test/any/thing", "code.read")
		expect(t, table, "GET", "http://b.test/repos/o/r/alerts", "security.alert.read")
		expect(t, table, "GET", "http://b.test/repos/o/r/alerts/7", "security.alert.read")
		expect(t, table, "GET", "http://b.test/o/r.git/info/refs", "code.read")
		expect(t, table, "GET", "http://b.test/repos/o/r/deep", "")
	}
	if _, _, err := mapping.Parse("m.toml", []byte("version = 2\n"+file)); err == nil {
		t.Error("version = 2 accepts the older spellings")
	}
}

// A rule that another one repeats after it was rewritten is dropped only when the
// two say the same.
func TestOlderReadingDropsOnlyTheSame(t *testing.T) {
	rule := func(path, class string) string {
		return "[[rules]]\nhost=\"a.test\"\npath=\"" + path + "\"\naction_class=\"" + class + "\"\n"
	}
	rules, warnings, err := mapping.Parse("m.toml", []byte(rule("/*/info", "code.read")+rule("/*.git/info", "code.read")))
	if err != nil || len(rules) != 1 || !strings.Contains(strings.Join(warnings, "\n"), "m.toml:7: this rule and m.toml:1 now say the same") {
		t.Errorf("%d rules, %q, %v", len(rules), warnings, err)
	}
	if _, _, err := mapping.Parse("m.toml", []byte(rule("/*/info", "code.read")+rule("/*.git/info", "code.write"))); fault.NameOf(err) != "DuplicateRule" {
		t.Errorf("two classes for one call: %v", err)
	}
}

func TestFormatRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.RuneFrom([]rune("ab\"\\\n\t\x00\x7f'é=&; ")))
		r := mapping.Rule{
			Method:      rapid.SampledFrom([]string{"", "GET", "DELETE"}).Draw(t, "method"),
			Host:        rapid.SampledFrom([]string{"a.test", "*.a.test", "**.a.test:8443", "::1", "[::1]:99", "*:8443"}).Draw(t, "host"),
			Path:        rapid.SampledFrom([]string{"", "/", "/a/*/**", "/caf%C3%A9", "/a'b"}).Draw(t, "path"),
			Query:       rapid.MapOfN(text.Filter(func(s string) bool { return s != "" }), text, 1, 3).Draw(t, "query"),
			ActionClass: "code.read",
			Source:      "m.toml:3",
		}
		rules, _, err := mapping.Parse("m.toml", mapping.Format([]mapping.Rule{r}))
		if d := cmp.Diff([]mapping.Rule{r}, rules); err != nil || d != "" {
			t.Fatalf("%v (-want +got):\n%s", err, d)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("version = 2\n[[rules]]\nhost=\"**.a.test:8443\"\npath='/a/*/**'\nquery={a=\"\",'b.c'=\"1\"}\naction_class=\"code.read\""))
	f.Add([]byte("[[rules]]\nhost=\"*\"\npath=\"*\"\naction_class=\"code.read\"\n[rules.query]\nx=\"\""))
	f.Add([]byte("[[rules]]\nquery.a=1\n[rules]\n[[rules.query]]\nrules=[{}]\n\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rules, _, err := mapping.Parse("m.toml", data)
		if err != nil {
			if fault.NameOf(err) == "" || rules != nil {
				t.Fatalf("%v, %v", rules, err)
			}
			return
		}
		again, warnings, err := mapping.Parse("m.toml", mapping.Format(rules))
		if err != nil {
			t.Fatalf("%v\n%s", err, mapping.Format(rules))
		}
		for i := range again {
			again[i].Source = rules[i].Source
		}
		if d := cmp.Diff(rules, again); d != "" {
			t.Fatalf("not canonical (-first +second):\n%s", d)
		}
		for _, w := range warnings {
			if !strings.Contains(w, "every host") {
				t.Fatalf("warning for our own spelling: %s", w)
			}
		}
		if _, err := mapping.NewTable(rules); err != nil && fault.NameOf(err) != "AmbiguousRules" {
			t.Fatalf("Parse accepts what NewTable refuses: %v", err)
		}
	})
}
