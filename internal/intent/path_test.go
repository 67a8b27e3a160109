package intent_test

import (
	"testing"

	"firma/internal/intent"
)

func TestCanonicalPath(t *testing.T) {
	for in, want := range map[string]string{
		"": "/", "/": "/", "//": "/", "/.": "/", "/./": "/", "/a": "/a", "/a/": "/a/", "/a//": "/a/", "//a": "/a",
		"/a/.": "/a/", "/a/./b": "/a/b", "/a/..": "/", "/a/b/..": "/a/", "/a/b/../c": "/a/c", "/a//../b": "/b", "/a/b/../../c/": "/c/",
		"/...": "/...", "/..a": "/..a", "/.well-known/x": "/.well-known/x", "/a/.b/..c/d..": "/a/.b/..c/d..",
		"/%61%2D%2e%5F%7E": "/a-._~", "/%2e": "/", "/a/%2E%2e/b": "/b", "/a/.%2e": "/", "/%2e%2e%2e": "/...",
		"/%3a%40%21%24%27%28%29%2a%2c": "/:@!$'()*,", "/%3b%3d%26%2b": "/%3B%3D%26%2B", "/;=&+": "/;=&+",
		"/%25": "/%25", "/100%25": "/100%25", "/%2520": "/%2520", "/%25e9": "/%25e9", "/%252525": "/%252525", "/a%25252Fb": "/a%25252Fb", "/%25zz": "/%25zz", "/%20": "/%20", "/%3f%23": "/%3F%23", "/a?b": "/a%3Fb",
		"/\"<>[]^`{|}": "/%22%3C%3E%5B%5D%5E%60%7B%7C%7D", "/%5b%5D": "/%5B%5D", "/é": "/%C3%A9", "/%c3%a9": "/%C3%A9", "/%c3é"[:1] + "€": "/%E2%82%AC",
		"/@s%2fn": "/@s%2Fn", "/a%2Fb%2fc/d": "/a%2Fb%2Fc/d", "/x%2fy/..": "/", "/a%252fb": "/a%252fb",
		"/a;x=1": "/a;x=1", "/a;.": "/a;.", "/;/": "/;/", "/%3B": "/%3B", "/a..;b": "/a..;b",
	} {
		got, err := intent.CanonicalPath(in)
		if err != nil || got != want {
			t.Errorf("CanonicalPath(%q) = %q, %v; want %q", in, got, err, want)
		}
		if again, err := intent.CanonicalPath(got); err != nil || again != got {
			t.Errorf("CanonicalPath(%q) = %q, %v; not idempotent", got, again, err)
		}
	}
	for _, in := range []string{"a", "?", "*", "/..", "/a/../..", "/%2e%2e", "/.%2E/a", "//..", "/%2f", "/a%2f", "/%2fa", "/a%2f%2fb", "/a%2f../b", "/a/..%2fb", "/a%2f%2e%2e", "/a%2f.", "/a%2f..;x/b", "/a%2f;x/b", "/%5C", "/\\", "/%00", "/%1f", "/%7f", "/ ", "/\t",
		"/#", "/%", "/%a", "/%ag", "/%C3", "/%C3%28", "/%c3a%a9", "/\xc3", "/%F8%88%80%80%80", "/..;", "/.;", "/a/..;/b", "/%2e%2e;x", "/..%3b", "/.%3Bx/a", "/%252e%252e/x", "/%25%32e", "/%2561dmin", "/a%252f../b"[:7] + "..%252fb", "/%25252e", "/%255c", "/%2500", "/%250d%250a", "/%252fx", "/a%252f", "/a%252f%252fb", "/..%252fb", "/..%25252fb", "/a%252f..;x%252fb", "/a/..%20/b", "/a/.%20", "/..%20%20/b", "/a%2f..%20%2fb", "/a/..%20;x/b"} {
		if got, err := intent.CanonicalPath(in); err == nil {
			t.Errorf("CanonicalPath(%q) = %q; want a refusal", in, got)
		}
	}
}

// TestDecoded: what a server sees that decodes encoded slashes is canonical too,
// so it can be judged as it is.
func TestDecoded(t *testing.T) {
	for in, want := range map[string]string{"/a/b": "", "/%2e": "", "/@s%2fn": "/@s/n", "/a%2Fb%2fc/%20": "/a/b/c/%20"} {
		c, err := intent.FromOrigin(intent.HTTPS, "GET", "a.test", in)
		if err != nil {
			t.Fatal(err)
		}
		got := c.Decoded()
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if again, err := intent.CanonicalPath(got); got != "" && (err != nil || again != got) {
			t.Errorf("%q: %q is not canonical: %q, %v", in, got, again, err)
		}
	}
}

func FuzzCanonicalPath(f *testing.F) {
	for _, s := range []string{"/a/../b", "/@s%2fn", "/%2e%2e%2f", "/a;x/..", "/\xc3\xa9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		c, err := intent.FromOrigin(intent.HTTP, "GET", "a.test", in)
		if err != nil {
			return
		}
		for _, p := range []string{c.Path, c.Decoded()} {
			if again, err := intent.CanonicalPath(p); p != "" && (err != nil || again != p) {
				t.Errorf("%q: %q became %q, %v", in, p, again, err)
			}
		}
	})
}
