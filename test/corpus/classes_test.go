package corpus

import (
	"fmt"
	"strings"
)

// class is a kind of attack.
type class struct {
	name    string
	entries func() []entry
}

var classes = []class{
	{"request line", requestLines},
	{"target form", targetForms},
	{"HEAD", headRequests},
	{"host", hostFields},
	{"authority", authorities},
	{"address", addresses},
	{"path", paths},
	{"query", queries},
	{"framing", framings},
	{"chunks", chunks},
	{"fields", fieldLines},
	{"hop by hop", hops},
	{"method override", overrides},
	{"expect", expects},
	{"upgrade", upgrades},
	{"pipelining", pipelines},
	{"size", sizes},
	{"incomplete", incompletes},
}

const host = "Host: a.test\r\n"

// get is a request for a target with more fields.
func get(target string, fields ...string) string { return with("GET", target, fields...) }

func with(method, target string, fields ...string) string {
	s := method + " " + target + " HTTP/1.1\r\n" + host
	for _, f := range fields {
		s += f + "\r\n"
	}
	return s + "\r\n"
}

const next = "GET {T}/next HTTP/1.1\r\nHost: a.test\r\n\r\n"

func requestLines() []entry {
	x := "GET a.test /x"
	all := []entry{
		sends("plain", get("{T}/x"), x),
		sends("HTTP/1.0", "GET {T}/x HTTP/1.0\r\nHost: a.test\r\n\r\n", x),
		sends("HTTP/1.0 without Host", "GET {T}/x HTTP/1.0\r\n\r\n", x),
		sends("HTTP/1.0 keep-alive, two", "GET {T}/x HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n"+get("{T}/x"), x, x),
		sends("HTTP/1.0 without keep-alive, two", "GET {T}/x HTTP/1.0\r\nHost: a.test\r\n\r\n"+get("{T}/x"), x),
		refuses("HTTP/1.1 without Host", "GET {T}/x HTTP/1.1\r\n\r\n"),
	}
	for _, v := range []string{"HTTP/1.2", "HTTP/1.10", "HTTP/1.01", "HTTP/01.1", "HTTP/1", "HTTP/1.", "HTTP/.1", "HTTP/2", "HTTP/2.0", "HTTP/3", "HTTP/0.9", "HTTP/1.1x",
		"http/1.1", "Http/1.1", "HTTP/1,1", "HTTP 1.1", "HTTP/ 1.1", "HTTP/1.1 ", "HTTP/1.1\t", " HTTP/1.1", "\tHTTP/1.1", "HTTP/1.1\x00", "HTTP/1.1\x0b", "HTTP/-1.1", "HTTP/1.1 HTTP/1.1", "SHTTP/1.1", "ICY/1.1", "RTSP/1.0", "x"} {
		all = append(all, refuses(fmt.Sprintf("version %q", v), "GET {T}/x "+v+"\r\nHost: a.test\r\n\r\n"))
	}
	for _, m := range []string{"get", "Get", "gET", "post", "G ET", "G\tET", "GET\x00", "G\x00ET", "G/ET", "GET:", "(GET)", "GE\xd4", "GÉT", "\"GET\"", "GET,", strings.Repeat("G", 65), "@GET", "GET;x", "\x7fGET"} {
		all = append(all, refuses(fmt.Sprintf("method %.12q", m), m+" {T}/x HTTP/1.1\r\nHost: a.test\r\n\r\n"))
	}
	for _, m := range []string{"PROPFIND", "TRACE", "TRACK", "DEBUG", "PURGE", "BREW", "M-SEARCH", "GETX", "$", "COPY", "MOVE", "SOURCE", "ICY", "LINK"} {
		all = append(all, denies("method "+m, "UnclassifiedIntent", m+" {T}/x HTTP/1.1\r\nHost: a.test\r\n\r\n"))
	}
	for name, line := range map[string]string{
		"two spaces before target": "GET  {T}/x HTTP/1.1", "two spaces before version": "GET {T}/x  HTTP/1.1", "tab before target": "GET\t{T}/x HTTP/1.1",
		"tab before version": "GET {T}/x\tHTTP/1.1", "no target": "GET HTTP/1.1", "empty target": "GET  HTTP/1.1", "no version": "GET {T}/x", "only a method": "GET", "space first": " GET {T}/x HTTP/1.1",
		"tab first": "\tGET {T}/x HTTP/1.1", "space in target": "GET {T}/x y HTTP/1.1", "two targets": "GET {T}/x {T}/y HTTP/1.1", "vertical tab": "GET\x0b{T}/x HTTP/1.1", "form feed": "GET\x0c{T}/x HTTP/1.1",
		"no-break space": "GET\xa0{T}/x HTTP/1.1", "no-break space UTF-8": "GET\u00a0{T}/x HTTP/1.1", "carriage return": "GET\r{T}/x HTTP/1.1", "carriage return before version": "GET {T}/x\rHTTP/1.1", "carriage return in target": "GET {T}/x\ry HTTP/1.1",
		"NUL in target": "GET {T}/x\x00y HTTP/1.1", "NUL first": "\x00GET {T}/x HTTP/1.1", "delete in target": "GET {T}/x\x7f HTTP/1.1", "escape in target": "GET {T}/x\x1b HTTP/1.1", "byte order mark": "\xef\xbb\xbfGET {T}/x HTTP/1.1",
		"colon": "GET: {T}/x HTTP/1.1", "field first": "Host: a.test", "CRLF first": "\r\nGET {T}/x HTTP/1.1", "LF first": "\nGET {T}/x HTTP/1.1", "CR first": "\rGET {T}/x HTTP/1.1", "many CRLF first": "\r\n\r\n\r\nGET {T}/x HTTP/1.1", "CRCRLF": "GET {T}/x HTTP/1.1\r",
	} {
		all = append(all, refuses(name, line+"\r\nHost: a.test\r\n\r\n"))
	}
	return append(all,
		refuses("bare LF after request line", "GET {T}/x HTTP/1.1\nHost: a.test\r\n\r\n"),
		refuses("bare LF everywhere", "GET {T}/x HTTP/1.1\nHost: a.test\n\n"),
		refuses("bare LF after a field", "GET {T}/x HTTP/1.1\r\nHost: a.test\nX: y\r\n\r\n"),
		refuses("bare LF at the end", "GET {T}/x HTTP/1.1\r\nHost: a.test\r\n\n"),
		refuses("bare CR as line end", "GET {T}/x HTTP/1.1\rHost: a.test\r\r"+get("{T}/y")),
		refuses("HTTP/0.9", "GET {T}/x\r\n"),
		refuses("HTTP/0.9 with LF", "GET {T}/x\n"),
		refuses("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
		refuses("TLS in plaintext", "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00").by(inside),
		refuses("binary", "\x80\x00\x01\x02\r\n\r\n"),
		refuses("nothing but an empty line", "\r\n"),
		refuses("PROXY protocol", "PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\n"+get("{T}/x")),
		refuses("PROXY protocol, binary", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x13\x88\x00\x50"+get("{T}/x")),
		refuses("response", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
	)
}

// headRequests are refused without a body, which their client does not read.
func headRequests() []entry {
	head := func(target string, fields ...string) string { return with("HEAD", target, fields...) }
	return []entry{
		refuses("percent-encoding", head("{T}/%zz")),
		refuses("no UTF-8", head("{T}/%ff")),
		refuses("other Host", "HEAD {T}/x HTTP/1.1\r\nHost: b.test\r\n\r\n"),
		refuses("no Host", "HEAD {T}/x HTTP/1.1\r\n\r\n"),
		refuses("field", head("{T}/x", "X y")),
		refuses("folded field", head("{T}/x", "X: y\r\n z")),
		refuses("length", head("{T}/x", "Content-Length: x")),
		refuses("bare LF", "HEAD {T}/x HTTP/1.1\n\n"),
		refuses("version", "HEAD {T}/x HTTP/1.2\r\n"+host+"\r\n"),
		refuses("cut off", "HEAD {T}/x HTTP/1.1\r\nHost: a.te").ended(),
		denies("forbidden", "CapabilityNotFound", head("{T}/admin/x")),
		denies("address", "DestinationForbidden", "HEAD http://127.0.0.1/x HTTP/1.0\r\n\r\n").by(forward),
	}
}

func targetForms() []entry {
	return []entry{
		sends("absolute inside", get("https://a.test/x"), "GET a.test /x").by(inside),
		sends("absolute inside, no path", get("https://a.test"), "GET a.test /").by(inside),
		sends("absolute inside, query and no path", get("https://a.test?q"), "GET a.test /?q").by(inside),
		sends("absolute inside, other case", get("HTTPS://A.TEST:443/x"), "GET a.test /x").by(inside),
		refuses("absolute inside, other scheme", get("http://a.test/x")).by(inside),
		refuses("absolute inside, other host", get("https://b.test/x")).by(inside),
		refuses("absolute inside, other port", get("https://a.test:8443/x")).by(inside),
		refuses("absolute inside, user", get("https://b.test@a.test/x")).by(inside),
		refuses("absolute inside, no host", get("https:///x")).by(inside),
		refuses("CONNECT inside", with("CONNECT", "a.test:443")).by(inside),
		refuses("authority form inside", get("a.test:443")).by(inside),
		refuses("asterisk inside", with("OPTIONS", "*")).by(inside),
		sends("no path", get("http://a.test"), "GET a.test /").by(forward),
		sends("query and no path", get("http://a.test?q=1"), "GET a.test /?q=1").by(forward),
		sends("scheme in upper case", get("HTTP://a.test/x"), "GET a.test /x").by(forward),
		sends("OPTIONS without path", with("OPTIONS", "http://a.test"), "OPTIONS a.test /").by(forward),
		sends("https", get("https://a.test/x"), "GET a.test /x").by(forward),
		sends("https in upper case, no path", get("HTTPS://A.TEST"), "GET a.test /").by(forward),
		refuses("https, user", get("https://b.test@a.test/x")).by(forward),
		refuses("https, fragment", get("https://a.test/x#y")).by(forward),
		refuses("https, no host", get("https:///x")).by(forward),
		refuses("https, Host of http", "GET https://a.test/x HTTP/1.1\r\nHost: a.test:80\r\n\r\n").by(forward),
		refuses("https, one slash", get("https:/a.test/x")).by(forward),
		refuses("ftp", get("ftp://a.test/x")).by(forward),
		refuses("file", get("file:///etc/passwd")).by(forward),
		refuses("ws", get("ws://a.test/x")).by(forward),
		refuses("gopher", get("gopher://a.test:70/x")).by(forward),
		refuses("javascript", get("javascript:alert(1)")).by(forward),
		refuses("one slash", get("http:/a.test/x")).by(forward),
		refuses("no slash", get("http:a.test/x")).by(forward),
		refuses("three slashes", get("http:///a.test/x")).by(forward),
		refuses("backslashes", get("http:\\\\a.test/x")).by(forward),
		refuses("scheme twice", get("http://http://a.test/x")).by(forward),
		refuses("space before scheme", get(" http://a.test/x")).by(forward),
		refuses("protocol relative", get("//a.test/x")).by(forward),
		refuses("origin form", get("/x")).by(forward),
		refuses("asterisk", with("OPTIONS", "*")).by(forward),
		refuses("asterisk with GET", get("*")),
		refuses("authority form", get("a.test:80")).by(forward),
		refuses("relative", get("x")),
		refuses("relative dots", get("../x")),
		refuses("query only", get("?q")),
		refuses("fragment", get("{T}/x#f")),
		refuses("fragment without path", get("http://a.test#f")).by(forward),
		refuses("encoded scheme", get("http%3a//a.test/x")).by(forward),
		refuses("CONNECT without port", with("CONNECT", "a.test")).by(forward),
		refuses("CONNECT with path", with("CONNECT", "a.test:443/x")).by(forward),
		refuses("CONNECT with scheme", with("CONNECT", "https://a.test:443")).by(forward),
		refuses("CONNECT absolute path", with("CONNECT", "/a.test:443")).by(forward),
		refuses("CONNECT with user", with("CONNECT", "b.test@a.test:443")).by(forward),
		refuses("CONNECT to a list", with("CONNECT", "a.test:443,b.test:443")).by(forward),
		refuses("CONNECT with a query", with("CONNECT", "a.test:443?x")).by(forward),
		refuses("CONNECT with a body", with("CONNECT", "a.test:443", "Content-Length: 3")+"abc").by(forward),
		refuses("CONNECT chunked", with("CONNECT", "a.test:443", "Transfer-Encoding: chunked")+"0\r\n\r\n").by(forward),
		refuses("CONNECT, other Host", "CONNECT a.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n").by(forward),
		refuses("CONNECT, other port in Host", "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:8443\r\n\r\n").by(forward),
		refuses("CONNECT empty", "CONNECT  HTTP/1.1\r\nHost: a.test:443\r\n\r\n").by(forward),
		refuses("CONNECT asterisk", with("CONNECT", "*")).by(forward),
		refuses("connect in lower case", with("connect", "a.test:443")).by(forward),
	}
}

func hostFields() []entry {
	line := "GET {T}/x HTTP/1.1\r\n"
	all := []entry{}
	for _, h := range []string{"A.Test", "a.test.", "A.TEST.", "  a.test  ", "\ta.test", "ａ.test", "a。test", "a．test", "a.\u200btest"} {
		all = append(all, sends(fmt.Sprintf("same %q", h), line+"Host:"+h+"\r\n\r\n", "GET a.test /x"))
	}
	all = append(all, sends("same with port", line+"Host: a.test:80\r\n\r\n", "GET a.test /x").by(forward),
		sends("same with port", line+"Host: a.test:443\r\n\r\n", "GET a.test /x").by(inside),
		refuses("plain port inside", line+"Host: a.test:80\r\n\r\n").by(inside))
	for _, h := range []string{"", " ", "b.test", "a.test:8080", "a.test:", "a.test:080", "a.test:+80", "a.test: 80", "a.test :80", "a.test:80x", "a.test:0", "a.test:65536", "a.test:99999999999999999999", "a.test:80:80", "a.test:-80", "a.test:0x50",
		"a.test/", "a.test/x", "a.test?x", "a.test#x", "a.test\\x", "b.test@a.test", "a.test@b.test", "user:pw@a.test", "a.test,b.test", "a.test, a.test", "a.test a.test", "a.test b.test", "a.test\tb.test", "a.test\x00", "a.test\x00b.test", "\x00a.test", "a.test\x0b",
		"a.test\rb.test", "http://a.test", "//a.test", "a.test..", ".a.test", "a..test", "a%2etest", "%61.test", "a.test%00", "a.test%0d%0a", "[a.test]", "[::1", "::1]", "[]", "*", "*.test", "a_.test ", "-a.test", "a.test-", "a.test;b.test", "a.test|b.test", "(a.test)", "\"a.test\"", "'a.test'", "a\u00adtest", "\u0430.test", "a.te\u017ft.b", "a.t\xe9st", "a.t\xc0\xaest", "xn--a.test", "xn--.test",
		"localhost", "127.0.0.1", "[::1]", "0", "1", strings.Repeat("a", 64) + ".test", strings.Repeat("a.", 130) + "test"} {
		all = append(all, refuses(fmt.Sprintf("other %.30q", h), line+"Host: "+h+"\r\n\r\n"))
	}
	for name, fields := range map[string]string{
		"twice the same": host + host, "twice": host + "Host: b.test\r\n", "twice other first": "Host: b.test\r\n" + host, "twice in other case": host + "hOST: a.test\r\n", "three": host + host + host, "one empty": host + "Host:\r\n", "empty first": "Host:\r\n" + host,
		"space before colon": "Host : a.test\r\n", "tab before colon": "Host\t: a.test\r\n", "folded": "Host: a.test\r\n b.test\r\n", "folded by tab": "Host: a.test\r\n\tb.test\r\n", "folded to nothing": "Host:\r\n a.test\r\n", "folded end": "Host: a.test\r\n \r\n", "line with space first": " Host: a.test\r\n", "second with space first": "Host: a.test\r\n Host: b.test\r\n", "line with tab first": "\tHost: a.test\r\n",
		"no colon": "Host a.test\r\n", "equals": "Host= a.test\r\n", "NUL in name": "Ho\x00st: a.test\r\n", "only other fields": "Hosts: a.test\r\n", "NUL after name": host + "Host\x00: b.test\r\n", "space in name": host + "Ho st: b.test\r\n", "vertical tab in front": host + "\x0bHost: b.test\r\n", "no-break space in front": host + "\u00a0Host: b.test\r\n", "no-break space behind": host + "Host\u00a0: b.test\r\n",
		"comma list": host + "Host, X: b.test\r\n",
	} {
		all = append(all, refuses(name, line+fields+"\r\n"))
	}
	return all
}
