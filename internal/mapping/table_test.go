package mapping_test

import (
	"fmt"
	"strings"
	"testing"

	"firma/internal/action"
	"firma/internal/fault"
	"firma/internal/mapping"
)

func TestDuplicateRules(t *testing.T) {
	a := mapping.Rule{Method: "GET", Host: "a.test", Path: "/x", ActionClass: "code.read", Source: "one.toml:1"}
	for _, b := range []mapping.Rule{
		{Method: "GET", Host: "A.TEST.:80", Path: "/%78/", ActionClass: "code.write"},
		{Method: "GET", Host: "a.test:443", Path: "//x", ActionClass: "code.read"},
	} {
		b.Source = "two.toml:9"
		_, err := mapping.NewTable([]mapping.Rule{a, b})
		if fault.NameOf(err) != "DuplicateRule" || !strings.Contains(err.Error(), "one.toml:1") || !strings.Contains(err.Error(), "two.toml:9") {
			t.Errorf("%+v: %v", b, err)
		}
	}
	for _, b := range []mapping.Rule{
		{Method: "PUT", Host: "a.test", Path: "/x"}, {Host: "a.test", Path: "/x"}, {Method: "GET", Host: "a.test:81", Path: "/x"},
		{Method: "GET", Host: "a.test", Path: "/X"}, {Method: "GET", Host: "a.test", Path: "/x", Query: map[string]string{"a": "1"}},
	} {
		b.Source, b.ActionClass = "two.toml:9", "code.read"
		if _, err := mapping.NewTable([]mapping.Rule{a, b}); err != nil {
			t.Errorf("%+v: %v", b, err)
		}
	}
}

func TestAmbiguousRules(t *testing.T) {
	for _, pair := range [][2]string{
		{"GET a.test/a/* code.read", "GET a.test/*/b code.write"},
		{"GET a.test/a/*/** code.read", "GET a.test/*/b/** code.write"},
		{"GET a.test/x/* code.read", "any a.test/x/y code.write"}, // 117 both
		{"GET *.test/*/b code.read", "GET **.test/a/* code.write"},
		{"GET *.test/*/b code.read", "GET */a/* code.write"},
		{"GET a.test/x code.read a=1", "GET a.test/x code.write b=1"},
		{"GET **.a.test/* code.read x=1", "GET **.test/* code.write y=1"},
		{"GET *.a.test/x/** code.read", "any **.test/x/*/*/*/*/*/*/*/*/*/* code.write"}, // 16 both
	} {
		for _, order := range [][2]string{{pair[0], pair[1]}, {pair[1], pair[0]}} {
			parsed, _, err := mapping.Parse("m.toml", []byte("version = 2\n"+rules(order[:]...)))
			if err != nil {
				t.Fatal(err)
			}
			_, err = mapping.NewTable(parsed)
			if fault.NameOf(err) != "AmbiguousRules" || !strings.Contains(err.Error(), parsed[0].Source) || !strings.Contains(err.Error(), parsed[1].Source) {
				t.Errorf("%q: %v", order, err)
			}
		}
	}
	for _, pair := range [][2]string{
		{"GET a.test/a/* code.read", "GET a.test/b/* code.write"},
		{"GET a.test/a/* code.read", "POST a.test/*/b code.write"},
		{"GET a.test/a/* code.read", "GET b.test/*/b code.write"},
		{"GET a.test/a/* code.read", "GET a.test:81/*/b code.write"},
		{"GET *.a.test/a/* code.read", "GET *.b.test/*/b code.write"},
		{"GET *.test/a/* code.read", "GET **.a.test/*/b code.write"},
		{"GET a.test/a/* code.read", "GET a.test/*/b/c code.write"},
		{"GET a.test/x code.read a=1", "GET a.test/x code.write a=2"},
		{"CONNECT *.test code.read", "CONNECT **.test code.write"},
		{"CONNECT a.test code.read", "any a.test code.write"},
	} {
		load(t, rules(pair[:]...))
	}
}

func TestRulesThatFirmaMakesMayRepeatOneAnother(t *testing.T) {
	shared := append(mapping.Registry("npm", "Packages.Corp.test"), mapping.Registry("pypi", "packages.corp.test:443")...)
	table, err := mapping.NewTable(shared)
	if err != nil || table.Len() != 2 {
		t.Fatalf("%v, %v", table, err)
	}
	expect(t, table, "CONNECT", "packages.corp.test:443", "system.install")
	expect(t, table, "GET", "http://packages.corp.test/a", "system.install")
	a := mapping.Rule{Host: "a.test", ActionClass: "code.read", Source: "shipped:a"}
	b := mapping.Rule{Host: "a.test", ActionClass: "code.write", Source: "registry:b"}
	for _, order := range [][]mapping.Rule{{a, b}, {b, a}} {
		table, err := mapping.NewTable(order)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, table, "GET", "http://a.test/", "code.write")
	}
	b.Source = "mine.toml:1"
	if _, err := mapping.NewTable([]mapping.Rule{a, b}); fault.NameOf(err) != "DuplicateRule" {
		t.Errorf("a rule of the user's own that repeats a shipped one: %v", err)
	}
}

func TestRegistryRefusesWhatIsNoHost(t *testing.T) {
	for _, host := range []string{"", "*", "*.test", "http://a.test", "a.test/path", "a b", "user@a.test"} {
		if rules := mapping.Registry("npm", host); rules != nil {
			t.Errorf("Registry(%q) = %+v", host, rules)
		}
	}
}

func TestAllow(t *testing.T) {
	allow := func(dest string) []mapping.Rule {
		t.Helper()
		rules, err := mapping.Allow(dest)
		if err != nil {
			t.Fatal(err)
		}
		return rules
	}
	github, err := mapping.Shipped("github")
	if err != nil {
		t.Fatal(err)
	}
	own, _, err := mapping.Parse("own.toml", []byte("version = 2\n"+rules("any own.test payment.transfer", "CONNECT own.test payment.transfer")))
	if err != nil {
		t.Fatal(err)
	}
	var all []mapping.Rule
	for _, set := range [][]mapping.Rule{allow("plain.test"), allow("Port.test:8443"), allow("plain.test:443"), github, allow("api.github.com"),
		allow("own.test"), own, allow("[::1]:99"), mapping.Registry("npm", "r.test"), allow("r.test")} {
		all = append(all, set...)
	}
	table, err := mapping.NewTable(all)
	if err != nil {
		t.Fatal(err)
	}
	const send action.Class = "communication.external.send"
	for _, tc := range []struct {
		method, target string
		want           action.Class
	}{
		{"CONNECT", "plain.test:443", send}, {"CONNECT", "plain.test:80", send}, {"CONNECT", "plain.test:8443", ""}, {"DELETE", "http://plain.test/x", send},
		{"CONNECT", "port.test:8443", send}, {"CONNECT", "port.test:443", ""}, {"GET", "http://port.test:8443/", send},
		{"CONNECT", "[::1]:99", send}, {"CONNECT", "x.plain.test:443", ""},
		// The operator's word decides the tunnel; finer rules keep their requests.
		{"CONNECT", "api.github.com:443", send}, {"PUT", "http://api.github.com/repos/o/r/pulls/1/merge", "code.merge"}, {"POST", "http://api.github.com/graphql", send},
		{"CONNECT", "github.com:443", "code.write"},
		{"CONNECT", "own.test:443", send}, {"GET", "http://own.test/", send}, {"CONNECT", "r.test:443", send},
	} {
		expect(t, table, tc.method, tc.target, tc.want)
	}
	for _, dest := range []string{"", "*", "*.test", "**.test", "*:443", "http://a.test", "a.test/x", "a.test:0", "a.test:x", "u@a.test", "a,b", "a b"} {
		if rules, err := mapping.Allow(dest); fault.NameOf(err) != "InvalidAllow" || rules != nil {
			t.Errorf("Allow(%q) = %v, %v", dest, rules, err)
		}
	}
}

func TestNewTableDoesNotKeepTheCallersSlice(t *testing.T) {
	in := []mapping.Rule{{Host: "a.test", ActionClass: "code.read"}}
	table, err := mapping.NewTable(in)
	if err != nil {
		t.Fatal(err)
	}
	in[0] = mapping.Rule{Host: "b.test", ActionClass: "code.write"}
	expect(t, table, "GET", "http://a.test/", "code.read")
}

func TestCoverageWords(t *testing.T) {
	var zero mapping.Coverage
	if zero != mapping.Refused || fmt.Sprint(mapping.Refused, mapping.Unmapped, mapping.Mapped) != "refused unmapped mapped" {
		t.Error("the zero coverage must be the one that is denied")
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, hosts := range []int{1, 100, 10000} {
		b.Run(fmt.Sprint(hosts), func(b *testing.B) {
			table := wideTable(b, hosts)
			c := call(b, "GET", "http://h0.test/repos/o/r/pulls/1/files?per_page=100")
			b.ReportAllocs()
			for b.Loop() {
				table.Match(&c)
			}
		})
	}
}

func BenchmarkNewTable(b *testing.B) {
	for _, hosts := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprint(hosts), func(b *testing.B) {
			for b.Loop() {
				wideTable(b, hosts)
			}
		})
	}
}

func BenchmarkShipped(b *testing.B) {
	for b.Loop() {
		shipped(b, "anthropic", "openai", "github")
	}
}

func wideTable(t testing.TB, hosts int) *mapping.Table {
	var all []mapping.Rule
	for i := range hosts {
		for _, p := range []string{"/repos/*/*", "/repos/*/*/pulls/*/files", "/orgs/**"} {
			all = append(all, mapping.Rule{Method: "GET", Host: fmt.Sprintf("h%d.test", i), Path: p, ActionClass: "code.read"})
		}
	}
	table, err := mapping.NewTable(all)
	if err != nil {
		t.Fatal(err)
	}
	return table
}
