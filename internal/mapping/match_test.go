package mapping_test

import (
	"strings"
	"testing"

	"firma/internal/action"
	"firma/internal/intent"
	"firma/internal/mapping"
)

// load makes a table of a rules file; "version = 2" is added.
func load(t testing.TB, file string) *mapping.Table {
	t.Helper()
	if !strings.Contains(file, "version") {
		file = "version = 2\n" + file
	}
	rules, _, err := mapping.Parse("test.toml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	table, err := mapping.NewTable(rules)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// rules writes "METHOD host[path] class" lines as rules; METHOD may be "any".
func rules(lines ...string) string {
	var b strings.Builder
	for _, l := range lines {
		f := strings.Fields(l)
		host, path, found := strings.Cut(f[1], "/")
		b.WriteString("\n[[rules]]\nhost = \"" + host + "\"\n")
		if f[0] != "any" {
			b.WriteString("method = \"" + f[0] + "\"\n")
		}
		if found {
			b.WriteString("path = \"/" + path + "\"\n")
		}
		if len(f) > 3 {
			name, value, _ := strings.Cut(f[3], "=")
			b.WriteString("query = { \"" + name + "\" = \"" + value + "\" }\n")
		}
		b.WriteString("action_class = \"" + f[2] + "\"\n")
	}
	return b.String()
}

// call reads a target: a URL for requests, host:port for tunnels.
func call(t testing.TB, method, target string) intent.Call {
	t.Helper()
	if method == "CONNECT" {
		c, err := intent.FromAuthority(target)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c, err := intent.FromAbsolute(method, target)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// expect checks the class of a call; "" means that it is not mapped.
func expect(t testing.TB, table *mapping.Table, method, target string, want action.Class) {
	t.Helper()
	c := call(t, method, target)
	r, ok := table.Match(&c)
	if r.ActionClass != want || ok != (want != "") {
		t.Errorf("%s %s: class %q (%v) by %s, want %q", method, target, r.ActionClass, ok, r.Source, want)
	}
}

func TestHostPatterns(t *testing.T) {
	table := load(t, rules(
		"any exact.test code.read",
		"any *.one.test code.write",
		"any **.deep.test code.merge",
		"any port.test:8443 issue.read",
		"any *.one.test:8443 issue.write",
		"any 127.0.0.1 filesystem.read",
		"any [0:0:0:0:0:0:0:1] filesystem.write",
		"any [::1]:9000 filesystem.delete",
		"any Bücher.test. payment.read",
	))
	for host, want := range map[string]action.Class{
		"exact.test": "code.read", "EXACT.test.": "code.read", "exact.test:80": "code.read", "exact.test:443": "code.read",
		"a.one.test": "code.write", "a.one.test:443": "code.write", "a.one.test:8443": "issue.write",
		"a.deep.test": "code.merge", "a.b.deep.test": "code.merge", "a.b.c.deep.test": "code.merge",
		"port.test:8443": "issue.read",
		"127.0.0.1":      "filesystem.read", "0x7f.1": "filesystem.read", "2130706433": "filesystem.read", "127.1": "filesystem.read",
		"[::ffff:127.0.0.1]": "filesystem.read", "[::ffff:7f00:1]": "filesystem.read",
		"[::1]": "filesystem.write", "[0::1]:80": "filesystem.write", "[::1]:9000": "filesystem.delete",
		"xn--bcher-kva.test": "payment.read", "bücher.test": "payment.read",
		// Suffix confusion (escapes.md, F3) and other near misses.
		"one.test": "", "deep.test": "", "a.b.one.test": "", "notexact.test": "", "aone.test": "", "a-one.test": "", "adeep.test": "",
		"exact.test.evil.test": "", "a.one.test.evil.test": "", "one.test.evil.test": "", "deep.test.evil.test": "",
		"x.exact.test": "", "exact.test:8080": "", "port.test": "", "port.test:443": "", "a.deep.test:8443": "", "x.port.test:8443": "",
		"[::2]": "", "[::1]:9001": "", "127.0.0.2": "", "test": "", "evil.test": "",
	} {
		expect(t, table, "GET", "http://"+host+"/", want)
	}
}

// A forbidden address stays forbidden in the spelling that sockets know beside its
// own, whatever else a wildcard permits.
func TestMappedAddressIsNoWayAroundARule(t *testing.T) {
	table := load(t, rules("any * code.read", "any 192.0.2.1 code.destructive", "any [::ffff:192.0.2.2] code.merge"))
	for host, want := range map[string]action.Class{
		"192.0.2.1": "code.destructive", "[::ffff:192.0.2.1]": "code.destructive", "[0:0:0:0:0:ffff:c000:201]": "code.destructive",
		"192.0.2.2": "code.merge", "[::ffff:192.0.2.2]": "code.merge", "[::ffff:192.0.2.3]": "code.read",
	} {
		expect(t, table, "GET", "http://"+host+"/", want)
	}
}

func TestEveryHostStaysOnItsPorts(t *testing.T) {
	table := load(t, rules("any * code.read", "any *:8443 code.write"))
	for host, want := range map[string]action.Class{
		"a.test": "code.read", "b.a.test:443": "code.read", "127.0.0.1": "code.read", "[::1]": "code.read",
		"a.test:8443": "code.write", "[::1]:8443": "code.write", "10.0.0.1:8443": "code.write",
		"a.test:22": "", "[::1]:22": "",
	} {
		expect(t, table, "GET", "http://"+host+"/", want)
	}
}

func TestPathPatterns(t *testing.T) {
	table := load(t, rules(
		"GET a.test/ code.read",
		"GET a.test/x code.write",
		"GET a.test/x/* code.merge",
		"GET a.test/x/*/y/** issue.read",
		"GET a.test/files/** issue.write",
		"GET a.test/v1/x:delete customer.write",
		"GET a.test/caf%c3%a9 payment.read",
	))
	for path, want := range map[string]action.Class{
		"": "code.read", "/": "code.read", "?q": "code.read",
		"/x": "code.write", "/x/": "code.write", "//x": "code.write", "/./x": "code.write", "/%78": "code.write", "/a/../x": "code.write",
		"/x/1": "code.merge", "/x/1/": "code.merge", "/x/%2a": "code.merge", "/x/a%3Db": "code.merge",
		"/x/1/y": "issue.read", "/x/1/y/": "issue.read", "/x/1/y/a/b/c": "issue.read",
		"/files": "issue.write", "/files/": "issue.write", "/files/a": "issue.write", "/files/a/b": "issue.write",
		"/v1/x:delete": "customer.write", "/v1/x%3Adelete": "customer.write", "/v1/x%3adelet%65": "customer.write",
		"/café": "payment.read", "/caf%C3%A9": "payment.read",
		"/X": "", "/xx": "", "/x/1/2": "", "/x/1/yy": "", "/filesystem": "", "/v1": "", "/v1/x": "", "/y": "", "/cafe": "",
	} {
		expect(t, table, "GET", "http://a.test"+path, want)
	}
}

func TestPathParametersCountAsTheWorseReading(t *testing.T) {
	table := load(t, rules("any a.test/** code.read", "any a.test/admin code.write", "any b.test/x/* code.read"))
	for url, want := range map[string]action.Class{
		"http://a.test/admin":      "code.write",
		"http://a.test/admin;x=1":  "code.write",
		"http://a.test/admin%3bx":  "code.write",
		"http://a.test/;x/admin":   "code.write",
		"http://a.test/admin/;x":   "code.write",
		"http://a.test/other;x":    "code.read",
		"http://a.test/admin%3fx":  "code.write",
		"http://a.test/admin%23/x": "code.write",
		"http://a.test/admin/%3F":  "code.write",
		"http://a.test/admin;%3f":  "code.write",
		"http://a.test/x%3fadmin":  "code.read",
		"http://a.test/x%23/admin": "code.read",
		"http://b.test/x/1%3Fy":    "code.read",
		"http://b.test/x/%3Fy":     "",
		"http://b.test/x/1;v=2":    "code.read",
		"http://b.test/x/;v=2":     "", // "/x/;v=2" is mapped, "/x" is not
		"http://b.test/x;v=2/1":    "",
		"http://b.test/nothing;v=": "",
	} {
		expect(t, table, "GET", url, want)
	}
}

func TestMethods(t *testing.T) {
	table := load(t, rules("GET a.test code.read", "any b.test code.write"))
	for _, m := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} {
		expect(t, table, m, "http://b.test/", "code.write")
	}
	for _, m := range []string{"TRACE", "PROPFIND", "FOO"} {
		c := call(t, m, "http://b.test/")
		if r, coverage := table.Classify(&c); coverage != mapping.Refused || r.ActionClass != "" {
			t.Errorf("%s: %v by %+v, want it refused", m, coverage, r)
		}
	}
	expect(t, table, "GET", "http://a.test/", "code.read")
	expect(t, table, "HEAD", "http://a.test/", "")
	expect(t, table, "POST", "http://a.test/", "")
}

func TestMethodOverrideCountsAsTheWorseReading(t *testing.T) {
	table := load(t, rules("GET a.test code.read", "POST a.test code.write", "DELETE a.test code.merge", "POST b.test code.write"))
	for _, tc := range []struct {
		method, override, url string
		want                  action.Class
		coverage              mapping.Coverage
	}{
		{"POST", "", "http://a.test/", "code.write", mapping.Mapped},
		{"POST", "DELETE", "http://a.test/", "code.merge", mapping.Mapped},
		{"DELETE", "GET", "http://a.test/", "code.merge", mapping.Mapped},
		{"POST", "GET", "http://a.test/", "code.write", mapping.Mapped},
		{"POST", "PUT", "http://a.test/", "", mapping.Refused},
		{"PUT", "GET", "http://a.test/", "", mapping.Refused},
		{"PUT", "PATCH", "http://a.test/", "", mapping.Unmapped},
		{"POST", "TRACE", "http://a.test/", "", mapping.Refused},
		{"GET", "DELETE", "http://b.test/", "", mapping.Unmapped},
		{"POST", "DELETE", "http://b.test/", "", mapping.Refused},
		{"POST", "", "http://a.test/?_method=DELETE", "code.merge", mapping.Mapped},
		{"POST", "", "http://a.test/?x=1&_method=delete", "code.merge", mapping.Mapped},
		{"POST", "", "http://a.test/?x=1;_HttpMethod=DELETE", "code.merge", mapping.Mapped},
		{"POST", "", "http://a.test/?X-HTTP-Method-Override=DELETE", "code.merge", mapping.Mapped},
		{"POST", "", "http://a.test/?%5Fmethod=D%45LETE", "code.merge", mapping.Mapped},
		{"POST", "", "http://a.test/?_method=PUT", "", mapping.Refused},
		{"POST", "", "http://a.test/?_method=something", "code.write", mapping.Mapped},
		{"POST", "GET", "http://a.test/?_method=DELETE", "code.merge", mapping.Mapped},
		{"GET", "", "http://a.test/?_method=POST&_method=DELETE&_method=GET", "code.merge", mapping.Mapped},
		{"GET", "", "http://a.test/?method=DELETE", "code.read", mapping.Mapped},
	} {
		c := call(t, tc.method, tc.url)
		if tc.override != "" {
			if err := c.SetOverride(tc.override); err != nil {
				t.Fatal(err)
			}
		}
		r, coverage := table.Classify(&c)
		if r.ActionClass != tc.want || coverage != tc.coverage {
			t.Errorf("%s (override %q) %s: %q, %v; want %q, %v", tc.method, tc.override, tc.url, r.ActionClass, coverage, tc.want, tc.coverage)
		}
	}
}

func TestQuery(t *testing.T) {
	table := load(t, rules(
		"GET a.test/refs code.read service=up",
		"GET a.test/refs code.write service=receive",
		"GET a.test/refs issue.read",
		"GET b.test/ code.read op=read",
		"GET c.test/ code.read q=a+b",
		"GET d.test/ code.read acl=",
		"GET e.test/** code.merge danger=1",
		"GET e.test/x code.read",
	))
	for url, want := range map[string]action.Class{
		"a.test/refs":                            "issue.read",
		"a.test/refs?service=up":                 "code.read",
		"a.test/refs?service=up&x=1":             "code.read",
		"a.test/refs?x=1&service=up":             "code.read",
		"a.test/refs?service=%75p":               "code.read",
		"a.test/refs?s%65rvice=up":               "code.read",
		"a.test/refs?service=receive":            "code.write",
		"a.test/refs?service=other":              "issue.read",
		"a.test/refs?xservice=receive":           "issue.read",
		"a.test/refs?service=receives":           "issue.read",
		"a.test/refs?service=up&service=receive": "code.write",
		"a.test/refs?service=receive&service=up": "code.write",
		"a.test/refs?service=up&service=up":      "code.write", // anything, once it is there twice
		"a.test/refs?service=up&&service":        "code.write",
		"a.test/refs?service=up;service=receive": "code.write",
		"a.test/refs?x=1;service=receive":        "code.write",
		"a.test/refs?Service=receive":            "code.write",
		"a.test/refs?service=up&SERVICE=receive": "code.write",
		"a.test/refs?service=up&%53ervice=%72ec": "code.write",
		"b.test/?op=read":                        "code.read",
		"b.test/":                                "",
		"b.test/?op=read&op=delete":              "",
		"c.test/?q=a%2Bb":                        "code.read",
		"c.test/?q=a+b":                          "", // "+" may be a space
		"c.test/?q=a%20b":                        "",
		"d.test/?acl":                            "code.read",
		"d.test/?acl=":                           "code.read",
		"d.test/?acl=1":                          "",
		"e.test/x?danger=1":                      "code.read", // the exact path has the greater score
		"e.test/y?danger=1":                      "code.merge",
		"e.test/x?danger=1&danger=2":             "code.read",
	} {
		expect(t, table, "GET", "http://"+url, want)
	}
	c := call(t, "GET", "http://b.test/?op=read&op=delete")
	if _, coverage := table.Classify(&c); coverage != mapping.Refused {
		t.Errorf("a call that may or may not be mapped is %v, want it refused", coverage)
	}
}

func TestScores(t *testing.T) {
	table := load(t, rules(
		"any a.test code.read",               // 100
		"GET a.test code.write",              // 110
		"any a.test/** code.merge",           // 105
		"any a.test/x/* issue.read",          // 107
		"any a.test/y/* repo.admin",          // 107
		"any a.test/y/1 issue.write",         // 117
		"GET a.test/x/* payment.read",        // 117
		"GET a.test/x/1 payment.tax",         // 127
		"GET *.test/x/2/3/4 customer.read",   // 29: an exact host beats any path
		"GET **.test/only customer.write",    // 26
		"any b.test/repos/*/* code.read",     // same score, wider
		"any b.test/repos/mine/* code.write", // same score, narrower
		"any *.c.test code.read",             // same score, narrower host
		"any **.c.test code.write",           // same score, wider host
		"GET d.test/x code.read",             // same score, no query
		"GET d.test/x code.write a=1",        // same score, narrower query
	)+"[[rules]]\nmethod=\"GET\"\nhost=\"d.test\"\npath=\"/x\"\nquery={a=\"1\",b=\"2\"}\naction_class=\"code.merge\"\n")
	for _, tc := range []struct {
		method, url string
		want        action.Class
	}{
		{"POST", "a.test/", "code.merge"}, {"GET", "a.test/", "code.write"},
		{"POST", "a.test/x/9", "issue.read"}, {"GET", "a.test/x/9", "payment.read"},
		{"POST", "a.test/y/1", "issue.write"}, {"POST", "a.test/y/2", "repo.admin"}, {"GET", "a.test/x/1", "payment.tax"},
		{"GET", "a.test/x/2/3/4", "code.write"}, {"GET", "e.test/x/2/3/4", "customer.read"}, {"GET", "x.e.test/only", "customer.write"},
		{"GET", "b.test/repos/o/r", "code.read"}, {"GET", "b.test/repos/mine/r", "code.write"},
		{"GET", "x.c.test/", "code.read"}, {"GET", "y.x.c.test/", "code.write"},
		{"GET", "d.test/x", "code.read"}, {"GET", "d.test/x?a=1", "code.write"}, {"GET", "d.test/x?a=1&b=2", "code.merge"}, {"GET", "d.test/x?b=2", "code.read"},
	} {
		expect(t, table, tc.method, "http://"+tc.url, tc.want)
	}
}

func TestTunnelsCountAsTheMostPowerfulClass(t *testing.T) {
	table := load(t, rules(
		"CONNECT a.test code.read", "GET a.test code.review.read", "POST a.test/pay payment.transfer",
		"GET b.test code.read",
		"any c.test code.read",
		"any d.test/** code.read", "DELETE d.test/x code.destructive",
		"any e.test/x code.read",
		"CONNECT f.test code.write", "POST f.test system.install", "DELETE f.test payment.cancel",
		"CONNECT g.test code.read", "POST g.test code.merge", "PATCH g.test repo.admin",
		"CONNECT *.wide.test code.read", "POST x.wide.test payment.refund",
		"any h.test code.read op=read",
		"CONNECT [::1]:8443 code.read", "CONNECT 10.0.0.1 code.write",
	))
	for authority, want := range map[string]action.Class{
		"a.test:443": "payment.transfer", "a.test:80": "payment.transfer", "a.test:22": "",
		"b.test:443":      "", // some requests are mapped, the tunnel is not
		"c.test:443":      "code.read",
		"d.test:443":      "code.destructive",
		"e.test:443":      "",
		"f.test:443":      "code.write", // equal risk: the CONNECT rule's
		"g.test:443":      "repo.admin", // equal risk, none from CONNECT: the class no posture allows
		"x.wide.test:443": "payment.refund", "y.wide.test:443": "code.read", "wide.test:443": "", "a.b.wide.test:443": "",
		"h.test:443": "", "[::1]:8443": "code.read", "[0::1]:443": "", "10.1:443": "code.write",
	} {
		expect(t, table, "CONNECT", authority, want)
	}
}

func TestRoutable(t *testing.T) {
	table := load(t, rules("GET a.test/x code.read", "CONNECT *.one.test code.read", "any **.deep.test:8443 code.read", "any 10.0.0.1 code.read"))
	for name, want := range map[string]bool{
		"a.test": true, "A.test.": true, "b.one.test": true, "b.deep.test": true, "c.b.deep.test": true,
		"one.test": false, "deep.test": false, "c.b.one.test": false, "x.a.test": false, "test": false, "": false, "a..test": false,
		"10.0.0.1": false, "evila.test": false, "secret.a.test": false, "a.test.evil.test": false,
	} {
		if got := table.Routable(name); got != want {
			t.Errorf("Routable(%q) = %v", name, got)
		}
	}
	every := load(t, rules("any *:8443 code.read"))
	if !every.Routable("anything.test") || every.Routable("10.0.0.1") || every.Routable("a b") {
		t.Error(`with host "*" every name is routable, and nothing else`)
	}
	if (&mapping.Table{}).Routable("a.test") {
		t.Error("an empty table routes nothing")
	}
}

func TestEmptyTableAndZeroCallMapNothing(t *testing.T) {
	empty, err := mapping.NewTable(nil)
	if err != nil || empty.Len() != 0 {
		t.Fatalf("%v, %v", empty.Len(), err)
	}
	for _, table := range []*mapping.Table{empty, {}} {
		expect(t, table, "GET", "http://a.test/", "")
		expect(t, table, "CONNECT", "a.test:443", "")
	}
	all := load(t, rules("any * code.read"))
	for _, c := range []intent.Call{{}, {Method: "CONNECT"}, {Method: "GET"}, {Method: "GET", Host: "a.test"}, {Host: "a.test", Path: "/"}} {
		if r, ok := all.Match(&c); ok {
			t.Errorf("%+v is mapped by %+v", c, r)
		}
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	table := load(t, rules("any **.test code.read", "GET api.a.test/repos/*/* code.write", "GET api.a.test/repos/*/*/pulls/** issue.read", "CONNECT api.a.test code.read"))
	for _, c := range []intent.Call{
		call(t, "GET", "http://api.a.test/repos/o/r/pulls/1/files?per_page=100&page=2"),
		call(t, "CONNECT", "api.a.test:443"),
	} {
		if n := testing.AllocsPerRun(100, func() { table.Match(&c) }); n != 0 {
			t.Errorf("%s %s: %v allocations", c.Method, c.Resource(), n)
		}
	}
}
