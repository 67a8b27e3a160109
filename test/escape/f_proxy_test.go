package escape

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// evil is the control of everything that aims at evil.test through the proxy: the
// origin answers under that name, directly.
func evil(y *yard, a attempt) attempt {
	return a.instead("http", y.origin.PlainAddr().String(), "GET", "/", "Host: evil.test")
}

// alive shows that the way in works, so that refusals mean something.
func alive() attempt { return try("http", proxy, "GET", "http://allowed.test/").expect(allowed) }

// F: what the proxy reads differently from what it sends.
var proxyCases = []kase{
	{
		id: "F1", about: "another protocol, and a NUL in a name", flags: withConfig,
		tries: func(y *yard) []attempt {
			name := `evil.test\x00.allowed.test`
			socks := `\x05\x01\x00\x05\x01\x00\x03\x17` + name + `\x00\x50`
			return []attempt{
				alive(),
				evil(y, try("bytes", proxy, `\x05\x00`, socks)),
				evil(y, try("bytes", proxy, `\x00\x5a`, `\x04\x01\x00\x50\x00\x00\x00\x01\x00`+name+`\x00`)),
				evil(y, try("raw", proxy, "1", `GET http://`+name+`/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n`)),
				evil(y, try("raw", proxy, "1", `CONNECT `+name+`:80 HTTP/1.1\r\nHost: allowed.test\r\n\r\n`)),
			}
		},
	},
	{
		id: "F3", about: "names that look like an allowed one", flags: withConfig,
		tries: func(y *yard) []attempt {
			all := []attempt{alive()}
			for _, n := range []string{"evilallowed.test", "xallowed.test", "allowed.test.evil.test", "sub.allowed.test", "denied.test"} {
				all = append(all,
					evil(y, try("http", proxy, "GET", "http://"+n+"/")).audited(n),
					evil(y, try("through", proxy, n+":80", "x")).audited(n),
					try("dns", resolver, n).instead("dns", y.dns, n).audited(n))
			}
			for _, n := range []string{"allowed.test@evil.test", "evil.test#allowed.test", "evil.test?.allowed.test", "evil.test%00.allowed.test",
				"evil.test%2eallowed.test@evil.test", `evil.test\\.allowed.test`, "allowed.test:80@evil.test:80", "evil.test;allowed.test", "[evil.test]"} {
				all = append(all, evil(y, try("raw", proxy, "1", "GET http://"+n+`/ HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n`)))
			}
			return all
		},
	},
	{
		id: "F7", about: "plain HTTP in every form", flags: withConfig,
		tries: func(y *yard) []attempt {
			all := []attempt{
				alive(),
				evil(y, try("http", proxy, "GET", "http://evil.test/")).audited("evil.test"),
				evil(y, try("through", proxy, "evil.test:443", "x")).audited("evil.test"),
				evil(y, try("http", proxy, "GET", "/", "Host: evil.test")),
				evil(y, try("http", proxy, "DELETE", "http://evil.test/")).audited("evil.test"),
			}
			// Host and target disagree: whichever is sent must be the one judged.
			for _, raw := range []string{
				`GET http://evil.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n`,
				`GET http://allowed.test@evil.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n`,
				`GET http:///evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n`,
				`GET //evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n`,
				`GET https://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n`,
				`GET ftp://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n`,
				`GET HTTP://EVIL.TEST/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n`,
				`GET http://evil.test./ HTTP/1.1\r\nHost: allowed.test\r\n\r\n`,
				`CONNECT evil.test:80 HTTP/1.1\r\nHost: allowed.test:80\r\n\r\n`,
				`GET / HTTP/1.0\r\nHost: evil.test\r\n\r\n`,
				`GET http://evil.test/\r\n\r\n`,
			} {
				all = append(all, evil(y, try("raw", proxy, "1", raw)))
			}
			return all
		},
		check: func(t *testing.T, y *yard, _ *ran) {
			for _, r := range y.origin.Requests("") {
				if r.Path == "/hidden" {
					t.Errorf("ESCAPED     a hidden request arrived: %+v", r)
				}
			}
		},
	},
	{
		id: "F7-host", about: "a Host header that names somebody else than the target", flags: withConfig,
		tries: func(*yard) []attempt {
			return []attempt{
				alive(),
				try("raw", proxy, "1", `GET http://allowed.test/f7 HTTP/1.1\r\nHost: evil.test\r\n\r\n`).expect(contained).noControl("either refused, or sent as judged"),
				try("raw", proxy, "1", `GET http://allowed.test/f7 HTTP/1.1\r\nHost: allowed.test\r\nHost: evil.test\r\n\r\n`).expect(contained).noControl("either refused, or sent as judged"),
			}
		},
	},
	{
		id: "F11", about: "a second request behind an allowed one", flags: withConfig,
		tries: func(y *yard) []attempt {
			first := `GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n`
			second := `GET http://evil.test/hidden HTTP/1.1\r\nHost: evil.test\r\n\r\n`
			post := func(headers, body string) string {
				return `POST http://allowed.test/sink HTTP/1.1\r\nHost: allowed.test\r\n` + headers + `\r\n` + body
			}
			all := []attempt{alive(), evil(y, try("raw", proxy, "2", first+second)).audited("evil.test")}
			for _, raw := range []string{
				first + `GET /hidden HTTP/1.1\r\nHost: evil.test\r\n\r\n`,
				post(`Content-Length: 4\r\nTransfer-Encoding: chunked\r\n`, `0\r\n\r\n`+second),
				post(`Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n`, `0\r\n\r\n`+second),
				post(`Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n`, `0\r\n\r\n`+second),
				post(`Transfer-Encoding:\x0bchunked\r\nContent-Length: 5\r\n`, `0\r\n\r\n`+second),
				post(`Content-Length: 0\r\nContent-Length: 70\r\n`, second),
				post(`Content-Length: +0\r\n`, second),
				post(`Content-Length : 70\r\n`, second),
				post(`Transfer-Encoding: chunked\r\n`, `0;ext=\n`+`\r\n\r\n`+second),
				post(`X: y\nContent-Length: 70\r\n`, second),
			} {
				all = append(all, evil(y, try("raw", proxy, "2", raw)).expect(contained))
			}
			return all
		},
		check: hiddenNeverArrives,
	},
	{
		id: "F19", about: "nothing is allowed: everything is refused",
		flags: func(y *yard) []string { return []string{"--config", y.config} },
		tries: refuseAll,
	},
	{
		id: "F19-empty", about: "an empty rules file allows nothing: refused as a whole, or everything is",
		tries: func(*yard) []attempt { return nil },
		check: func(t *testing.T, y *yard, _ *ran) {
			conf, err := os.ReadFile(y.config)
			must(t, err)
			rules, file := filepath.Join(y.Base, "rules.toml"), filepath.Join(y.Base, "empty.toml")
			must(t, os.WriteFile(rules, nil, 0o644))
			must(t, os.WriteFile(file, append([]byte("[sidecar.mapping]\nrules_path = \""+rules+"\"\n"), conf...), 0o644))
			k := kase{flags: func(*yard) []string { return []string{"--config", file} }}
			r := y.firma(t, k, y.probe, "http", proxy, "GET", "http://allowed.test/")
			t.Logf("exit status %d: %s%s", r.Code, r.Stdout, r.Stderr)
			if started := r.Code == 0 && strings.Contains(r.Stdout, `"refused"`); !started && (r.Code != 125 || !strings.Contains(r.Stderr, rules)) {
				t.Errorf("ESCAPED     neither refused whole, with the file named, nor everything refused")
			}
			if n := len(y.origin.Requests("")); n != 0 {
				t.Errorf("ESCAPED     %d requests arrived", n)
			}
		},
	},
}

func refuseAll(y *yard) []attempt {
	return []attempt{
		evil(y, try("http", proxy, "GET", "http://allowed.test/")).audited("allowed.test"),
		evil(y, try("through", proxy, "allowed.test:443", "x")).audited("allowed.test"),
		evil(y, try("http", proxy, "GET", "http://evil.test/")).audited("evil.test"),
		try("dns", resolver, "allowed.test").instead("dns", y.dns, "allowed.test").audited("allowed.test"),
	}
}

func hiddenNeverArrives(t *testing.T, y *yard, _ *ran) {
	for _, r := range y.origin.Requests("") {
		if r.Path == "/hidden" {
			t.Errorf("ESCAPED     a request in a request arrived: %s %s%s", r.Method, r.Host, r.Path)
		}
	}
}
