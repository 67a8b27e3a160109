package intent_test

import (
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firma/internal/intent"
)

var addrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func TestFromAbsolute(t *testing.T) {
	for _, tc := range []struct {
		uri  string
		want intent.Call
	}{
		{"http://example.com", intent.Call{Host: "example.com", Port: 80, Path: "/"}},
		{"HTTP://Example.COM./", intent.Call{Host: "example.com", Port: 80, Path: "/"}},
		{"http://example.com?", intent.Call{Host: "example.com", Port: 80, Path: "/"}},
		{"http://example.com?a=1", intent.Call{Host: "example.com", Port: 80, Path: "/", RawQuery: "a=1"}},
		{"http://example.com:80/x", intent.Call{Host: "example.com", Port: 80, Path: "/x"}},
		{"http://example.com:443/x", intent.Call{Host: "example.com", Port: 443, Path: "/x"}},
		{"http://example.com:8080/a//b/./c/../d/?x=%7e+%2b&&y", intent.Call{Host: "example.com", Port: 8080,
			Path: "/a/b/d/", RawQuery: "x=~+%2B&&y"}},
		{"http://2852039166/latest/meta-data", intent.Call{Host: "169.254.169.254", Port: 80, IsIP: true,
			Addr: netip.MustParseAddr("169.254.169.254"), Path: "/latest/meta-data"}},
		{"http://[::ffff:127.0.0.1]:8080/", intent.Call{Host: "127.0.0.1", Port: 8080, IsIP: true,
			Addr: netip.MustParseAddr("127.0.0.1"), Path: "/"}},
		{"HTTPS://Example.com./x?y", intent.Call{Transport: "https", Host: "example.com", Port: 443, Path: "/x", RawQuery: "y"}},
		{"https://example.com:8443", intent.Call{Transport: "https", Host: "example.com", Port: 8443, Path: "/"}},
		{"http://bücher.test/é", intent.Call{Host: "xn--bcher-kva.test", Port: 80, Path: "/%C3%A9"}},
	} {
		if tc.want.Method = "GET"; tc.want.Transport == "" {
			tc.want.Transport = "http"
		}
		got, err := intent.FromAbsolute("GET", tc.uri)
		if err != nil {
			t.Errorf("FromAbsolute(%q): %v", tc.uri, err)
		} else if d := cmp.Diff(tc.want, got, addrs); d != "" {
			t.Errorf("FromAbsolute(%q) (-want +got):\n%s", tc.uri, d)
		}
	}
}

func TestFromAbsoluteRefuses(t *testing.T) {
	for _, uri := range []string{
		"", "/", "/x", "*", "example.com", "//example.com/", "http:", "http:/", "http://", "http:///x", "http://?x",
		"https:/example.com/", "https//example.com/", "wss://example.com/", "ftp://example.com/", "https://user@example.com/", "https://", "http:\\\\example.com", " http://example.com/", "http ://example.com",
		"http://user@example.com/", "http://user:pw@example.com/", "http://example.com@evil.test/", "http://@example.com/",
		"http://example.com\\@evil.test/", "http://example.com\\.evil.test/", "http://evil.test\\x",
		"http://example.com#@evil.test/", "http://example.com#", "http://example.com/#f", "http://example.com/?x#f",
		"http://example.com:0/", "http://example.com:65536/", "http://example.com:99999/", "http://example.com:/",
		"http://example.com:080/", "http://example.com:+80/", "http://example.com:8o/", "http://example.com:80:90/",
		"http://example.com: 80/", "http://:80/", "http://::1/", "http://[::1/", "http://[::1]x/", "http://[::1]:/",
		"http://[fe80::1%25eth0]/", "http://ex ample.com/", "http://example.com/a b", "http://example.com/a\x00",
		"http://example.com/a\r\nHost: evil.test", "http://example.com/\x7f", "http://example.com/a\\b",
		"http://example.com/%", "http://example.com/%4", "http://example.com/%zz", "http://example.com/%u0041",
		"http://example.com/%2F", "http://example.com/%2f..%2fx", "http://example.com/%5C", "http://example.com/%5c",
		"http://example.com/%00", "http://example.com/%0d%0aX", "http://example.com/%7F", "http://example.com/%1b",
		"http://example.com/..", "http://example.com/../x", "http://example.com/a/../../x", "http://example.com/%2e%2e/x",
		"http://example.com/.%2E", "http://example.com/a/%2e%2E/%2e./x", "http://example.com//../x",
		"http://example.com/a/..;/b", "http://example.com/a/.;x=1/b", "http://example.com/a/%2e%2e%3bx/b",
		"http://example.com/%c0%af", "http://example.com/%c0%ae%c0%ae/", "http://example.com/\xff", "http://example.com/%ed%a0%80",
		"http://example.com/?a b", "http://example.com/?a\x00", "http://example.com/?%00", "http://example.com/?\\",
		"http://example.com/?%", "http://example.com/?%zz", "http://example.com/?a\nb", "http://example.com/?\x7f",
		"http://1.2.3.4.5/", "http://a..b/", "http://%65xample.com/", "http://example.com%00.evil.test/",
		"http://example.com%2eevil.test/", "http://*.example.com/",
	} {
		got, err := intent.FromAbsolute("GET", uri)
		checkRefused(t, "FromAbsolute", uri, got, err)
	}
}

func checkRefused(t *testing.T, f, in string, got intent.Call, err error) {
	t.Helper()
	var e *intent.Error
	if !errors.As(err, &e) || e.Why == "" {
		t.Errorf("%s(%q) = %+v, %v; want an *intent.Error", f, in, got, err)
	}
	if got != (intent.Call{}) {
		t.Errorf("%s(%q) refused and still returned %+v", f, in, got)
	}
}

func TestFromAuthority(t *testing.T) {
	for in, want := range map[string]intent.Call{
		"example.com:443":     {Host: "example.com", Port: 443},
		"EXAMPLE.com.:22":     {Host: "example.com", Port: 22},
		"[::1]:443":           {Host: "::1", Port: 443, IsIP: true, Addr: netip.MustParseAddr("::1")},
		"0xA9FEA9FE:80":       {Host: "169.254.169.254", Port: 80, IsIP: true, Addr: netip.MustParseAddr("169.254.169.254")},
		"0251.0376.43518:443": {Host: "169.254.169.254", Port: 443, IsIP: true, Addr: netip.MustParseAddr("169.254.169.254")},
	} {
		want.Transport, want.Method = "connect", "CONNECT"
		got, err := intent.FromAuthority(in)
		if d := cmp.Diff(want, got, addrs); err != nil || d != "" {
			t.Errorf("FromAuthority(%q): %v (-want +got):\n%s", in, err, d)
		}
	}
	for _, in := range []string{"", ":", ":443", "example.com", "example.com:", "example.com:0", "example.com:443/",
		"example.com:443?", "http://example.com:443", "user@example.com:443", "example.com:443@evil.test", "::1:443",
		"[::1]", "[::1]443", "[::1%eth0]:443", "a b:443", "a:443 ", "a:443\r\n", "evil.test\x00.allowed.test:443",
		"a:65536", "a:-1", "a:0443", "a\\b:443", "a#:443", "[example.com]:443", "a:443:443"} {
		got, err := intent.FromAuthority(in)
		checkRefused(t, "FromAuthority", in, got, err)
	}
}

func TestFromOrigin(t *testing.T) {
	got, err := intent.FromOrigin("https", "POST", "API.example.com", "/v1/x?q=1")
	want := intent.Call{Transport: "https", Method: "POST", Host: "api.example.com", Port: 443, Path: "/v1/x", RawQuery: "q=1"}
	if d := cmp.Diff(want, got, addrs); err != nil || d != "" {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	for _, tc := range [][4]string{
		{"connect", "GET", "a.test", "/"},
		{"", "GET", "a.test", "/"},
		{"https", "CONNECT", "a.test", "/"},
		{"https", "GET", "a.test", "*"},
		{"https", "GET", "a.test", "https://b.test/"},
		{"https", "GET", "", "/"},
		{"https", "GET", "a.test/x", "/"},
		{"https", "GET", "a.test,b.test", "/"},
	} {
		got, err := intent.FromOrigin(tc[0], tc[1], tc[2], tc[3])
		checkRefused(t, "FromOrigin", strings.Join(tc[:], " "), got, err)
	}
}

func TestMethod(t *testing.T) {
	for _, m := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "M-SEARCH", "purge"} {
		c, err := intent.FromAbsolute(m, "http://a.test/")
		if err != nil || c.Method != m {
			t.Errorf("method %q became %q, %v", m, c.Method, err)
		}
	}
	for _, m := range []string{"", "get", "Get", "gET", "delete", "connect", "CONNECT", "Trace", "GET ", " GET", "G ET", "GET\t",
		"GET\x00", "GÉT", "GET/", "GET:", "(GET)", "ＧＥＴ", strings.Repeat("A", 65)} {
		got, err := intent.FromAbsolute(m, "http://a.test/")
		checkRefused(t, "method", m, got, err)
	}
}

func TestMethodOverride(t *testing.T) {
	for name, want := range map[string]bool{
		"X-HTTP-Method-Override": true, "x-http-method-override": true, "X-HTTP-Method": true,
		"X-Method-Override": true, "X_HTTP_METHOD_OVERRIDE": true, "x-http_method-Override": true, "x_method_override": true, "X.HTTP.Method.Override": true,
		"": false, "X-HTTP": false, "X-HTTP-Method-Overrides": false, "Method": false, "Accept": false, "X-HTTP-Methods": false,
	} {
		if got := intent.MethodOverride(name); got != want {
			t.Errorf("MethodOverride(%q) = %v", name, got)
		}
	}
}

func TestRepeatable(t *testing.T) {
	for _, tt := range []struct {
		method, target, override string
		want                     bool
	}{
		{"GET", "/", "", true}, {"HEAD", "/", "", true}, {"PUT", "/", "", true}, {"DELETE", "/?a=b", "", true}, {"OPTIONS", "/", "", true},
		{"POST", "/", "", false}, {"PATCH", "/", "", false}, {"FOO", "/", "", false},
		{"GET", "/", "GET", false}, {"GET", "/?_method=POST", "", false}, {"GET", "/?a;_METHOD=POST", "", false}, {"GET", "/?%5fm%65thod=POST", "", false},
		{"GET", "/?_HttpMethod=x", "", false}, {"GET", "/?x-http-method-override=PUT", "", false}, {"GET", "/method?metho=d", "", true},
	} {
		c, err := intent.FromOrigin(intent.HTTPS, tt.method, "a.test", tt.target)
		if err == nil && tt.override != "" {
			err = c.SetOverride(tt.override)
		}
		if got := c.Repeatable(); err != nil || got != tt.want {
			t.Errorf("%+v: %v, %v", tt, got, err)
		}
	}
}

func TestSetOverride(t *testing.T) {
	for in, want := range map[string]string{"DELETE": "DELETE", "delete": "DELETE", " Patch\t": "PATCH", "GET": "GET"} {
		var c intent.Call
		if err := c.SetOverride(in); err != nil || c.Override != want {
			t.Errorf("SetOverride(%q): %q, %v", in, c.Override, err)
		}
	}
	for _, in := range []string{"", "CONNECT", "connect", "NUKE", "DELETE, GET", "DELETE\r\nX: y", "DEL ETE"} {
		var c intent.Call
		if err := c.SetOverride(in); err == nil || c.Override != "" {
			t.Errorf("SetOverride(%q): %q, %v; want a refusal", in, c.Override, err)
		}
	}
	var c intent.Call
	_ = c.SetOverride("put")
	if err := c.SetOverride("PUT"); err != nil {
		t.Errorf("the same override twice: %v", err)
	}
	if err := c.SetOverride("DELETE"); err == nil || c.Override != "PUT" {
		t.Errorf("a second, different override: %q, %v", c.Override, err)
	}
}

func TestKeysAndTargets(t *testing.T) {
	for _, tc := range []struct {
		transport, authority, target           string
		key, hostPort, sent, resource, audited string
	}{
		{"http", "a.test", "", "a.test", "a.test", "/", "a.test/", "a.test/"},
		{"http", "a.test:80", "/x", "a.test", "a.test", "/x", "a.test/x", "a.test/x"},
		{"http", "a.test:443", "/x", "a.test", "a.test:443", "/x", "a.test/x", "a.test/x"},
		{"https", "a.test:443", "/x", "a.test", "a.test", "/x", "a.test/x", "a.test/x"},
		{"https", "a.test:80", "/x", "a.test", "a.test:80", "/x", "a.test/x", "a.test/x"},
		{"http", "a.test:8080", "/x/?q=1", "a.test:8080", "a.test:8080", "/x/?q=1", "a.test:8080/x/", "a.test:8080/x/?q=1"},
		{"http", "[::1]", "/", "::1", "[::1]", "/", "::1/", "::1/"},
		{"http", "[::1]:8080", "/", "[::1]:8080", "[::1]:8080", "/", "[::1]:8080/", "[::1]:8080/"},
		{"http", "a.test", "/p?token=s3cret&x=1", "a.test", "a.test", "/p?token=s3cret&x=1", "a.test/p", "a.test/p?token=REDACTED&x=1"},
	} {
		c, err := intent.FromOrigin(tc.transport, "GET", tc.authority, tc.target)
		if err != nil {
			t.Fatal(err)
		}
		got := [5]string{c.HostKey(), c.HostPort(), c.Target(), c.Resource(), c.AuditResource()}
		want := [5]string{tc.key, tc.hostPort, tc.sent, tc.resource, tc.audited}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s %s%s (-want +got):\n%s", tc.transport, tc.authority, tc.target, d)
		}
	}
	c, err := intent.FromAuthority("a.test:443")
	if err != nil || c.HostPort() != "a.test:443" || c.HostKey() != "a.test" || c.Resource() != "a.test/" || c.AuditResource() != "a.test/" {
		t.Errorf("tunnel: %q %q %q, %v", c.HostPort(), c.HostKey(), c.Resource(), err)
	}
}

func TestAuditResourceMasks(t *testing.T) {
	for query, want := range map[string]string{
		"key=v":                             "key=REDACTED",
		"KEY=v":                             "KEY=REDACTED",
		"api_key=v&apikey=v&token=v":        "api_key=REDACTED&apikey=REDACTED&token=REDACTED",
		"access_token=v;refresh_token=v":    "access_token=REDACTED;refresh_token=REDACTED",
		"auth=v&password=v&secret=v":        "auth=REDACTED&password=REDACTED&secret=REDACTED",
		"signature=v&sig=v&sas=v":           "signature=REDACTED&sig=REDACTED&sas=REDACTED",
		"accessToken=v":                     "accessToken=REDACTED",
		"access-token=v":                    "access-token=REDACTED",
		"X-Amz-Signature=v":                 "X-Amz-Signature=REDACTED",
		"X-Amz-Security-Token=v":            "X-Amz-Security-Token=REDACTED",
		"client_secret=v":                   "client_secret=REDACTED",
		"%74oken=v":                         "token=REDACTED",
		"tok%2Den=v&x=1":                    "tok-en=v&x=1",
		"token=a=b&x=1":                     "token=REDACTED&x=1",
		"token[]=v":                         "token%5B%5D=REDACTED",
		"token=&token":                      "token=&token",
		"q=token&monkey=1&author=x&tokens=": "q=token&monkey=1&author=x&tokens=",
		"&&a=1&":                            "&&a=1&",
		"sid=v":                             "sid=REDACTED",
	} {
		c, err := intent.FromAbsolute("GET", "http://a.test/?"+query)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.AuditResource("SID"); got != "a.test/?"+want {
			t.Errorf("%q: %q, want %q", query, got, "a.test/?"+want)
		}
	}
}

func TestFastPathAllocations(t *testing.T) {
	n := testing.AllocsPerRun(100, func() {
		c, _ := intent.FromAbsolute("GET", "http://api.github.com/repos/o/r/pulls?per_page=100&page=2")
		_ = c.HostKey()
	})
	if n != 0 {
		t.Errorf("a plain request costs %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = intent.FromAuthority("api.github.com:443") }); n != 0 {
		t.Errorf("a plain tunnel costs %v allocations", n)
	}
}

func FuzzFromAbsolute(f *testing.F) {
	for _, s := range []string{"http://example.com/a/../b?x=%41", "http://[::1]:80/", "http://0x7f.1/%7e", "http://a.test/;x/.%2e;/",
		"http://a.test//x//../?&;=%", "http://bücher.test/é?ü", "http://a.test/%3a%2a%27|{}^`\"<>[]", "http://a@b/", "http://a.test:443"} {
		f.Add("GET", s)
	}
	f.Fuzz(func(t *testing.T, method, uri string) {
		c, err := intent.FromAbsolute(method, uri)
		if err != nil {
			return
		}
		checkCall(t, c)
		again, err := intent.FromAbsolute(c.Method, "http://"+c.HostPort()+c.Target())
		if d := cmp.Diff(c, again, addrs); err != nil || d != "" {
			t.Fatalf("%q: not idempotent: %v (-first +second):\n%s", uri, err, d)
		}
		checkAgainstNetURL(t, uri, c)
	})
}

func checkCall(t *testing.T, c intent.Call) {
	t.Helper()
	checkHost(t, c.Host, c.Addr)
	if c.Port == 0 || c.IsIP != c.Addr.IsValid() {
		t.Fatalf("%+v", c)
	}
	if strings.ContainsAny(c.Target(), " \\#\x00\r\n\t\x7f") || strings.ContainsAny(c.Resource(), "?#\\ ") {
		t.Fatalf("%+v", c)
	}
	for i, seg := range strings.Split(c.Path, "/")[1:] {
		if seg == "." || seg == ".." || seg == "" && i != strings.Count(c.Path, "/")-1 {
			t.Fatalf("path %q has segment %q", c.Path, seg)
		}
	}
}

// checkAgainstNetURL holds the canonical form, and where net/url accepts it the
// raw one too, against an independent parser.
func checkAgainstNetURL(t *testing.T, raw string, c intent.Call) {
	t.Helper()
	u, err := url.Parse("http://" + c.HostPort() + c.Target())
	if err != nil {
		t.Fatalf("net/url refuses the canonical form of %q: %v", raw, err)
	}
	if u.Host != c.HostPort() || u.EscapedPath() != c.Path || u.RawQuery != c.RawQuery || u.Fragment != "" || u.User != nil {
		t.Fatalf("%q: net/url reads %q %q %q, we %+v", raw, u.Host, u.EscapedPath(), u.RawQuery, c)
	}
	before, err := url.Parse(raw)
	if err != nil {
		return
	}
	want, err1 := url.PathUnescape(c.Path)
	if got := resolve(before.Path); err1 != nil || got != want {
		t.Fatalf("%q: net/url reads path %q, we %q", raw, got, want)
	}
}

// resolve is the reference for dot segments: it works on a decoded path.
func resolve(p string) string {
	var out []string
	segs := strings.Split(p, "/")
	for _, s := range segs {
		switch s {
		case "", ".":
		case "..":
			out = out[:len(out)-1]
		default:
			out = append(out, s)
		}
	}
	res := "/" + strings.Join(out, "/")
	if last := segs[len(segs)-1]; len(out) > 0 && (last == "" || last == "." || last == "..") {
		res += "/"
	}
	return res
}

func FuzzFromAuthority(f *testing.F) {
	for _, s := range []string{"example.com:443", "[::1]:22", "0x7f000001:80", "a:0", "u@h:1", "::1:443", "xn--bcher-kva.test:8443"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, port, herr := intent.SplitHostPort(s)
		if herr == nil {
			key := intent.HostKey(host, port)
			again, aport, err := intent.SplitHostPort(key)
			if err != nil || again != host || aport != port && port != 80 && port != 443 {
				t.Fatalf("%q is %q and %d, and %s is %q and %d, %v", s, host, port, key, again, aport, err)
			}
		}
		c, err := intent.FromAuthority(s)
		if err != nil {
			return
		}
		if herr != nil || host != c.Host || port != c.Port {
			t.Fatalf("%q is %q and %d, %v; as an authority %+v", s, host, port, herr, c)
		}
		checkCall(t, c)
		again, err := intent.FromAuthority(c.HostPort())
		if d := cmp.Diff(c, again, addrs); err != nil || d != "" {
			t.Fatalf("%q: not idempotent: %v (-first +second):\n%s", s, err, d)
		}
		if u, err := url.Parse("http://" + c.HostPort()); err != nil || u.Host != c.HostPort() {
			t.Fatalf("%q: net/url reads %v, %v", s, u, err)
		}
	})
}

// FuzzAuditResource: what the log shows of a query holds no value of a parameter that is
// sensitive, as another parser reads its name, and all of what is not.
func FuzzAuditResource(f *testing.F) {
	for _, s := range []string{"token=s3cret&a=1", "Access_Token=x;sig=y&b", "%74oken=x", "a-b.password=x", "x-amz-signature=%2b&&=", "[token]=x", "key", "to+ken=x&auth =y", "token[]=a=b"} {
		f.Add(s)
	}
	sensitive := []string{"api_key", "apikey", "key", "token", "access_token", "refresh_token", "auth", "password", "secret", "signature", "sig", "sas"}
	f.Fuzz(func(t *testing.T, query string) {
		c, err := intent.FromOrigin(intent.HTTPS, "GET", "a.test", "/?"+query)
		if err != nil {
			return
		}
		shown, _ := strings.CutPrefix(c.AuditResource(), "a.test/")
		before := strings.FieldsFunc(c.RawQuery, func(r rune) bool { return r == '&' || r == ';' })
		after := strings.FieldsFunc(strings.TrimPrefix(shown, "?"), func(r rune) bool { return r == '&' || r == ';' })
		if len(before) != len(after) {
			t.Fatalf("%q is shown as %q", c.RawQuery, shown)
		}
		for i := range before {
			k, v, _ := strings.Cut(before[i], "=")
			k2, v2, _ := strings.Cut(after[i], "=")
			name, err := url.QueryUnescape(k)
			hidden := err == nil && slices.Contains(sensitive, strings.ToLower(name)) && v != ""
			if k != k2 || hidden && v2 != "REDACTED" || v2 != "REDACTED" && v2 != v {
				t.Fatalf("%q is shown as %q", before[i], after[i])
			}
		}
	})
}

func BenchmarkFromAbsolute(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = intent.FromAbsolute("GET", "http://api.github.com/repos/octocat/hello-world/pulls?per_page=100")
	}
}

func BenchmarkFromAuthority(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = intent.FromAuthority("api.github.com:443")
	}
}
