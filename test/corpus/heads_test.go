package corpus

import (
	"fmt"
	"strings"
)

func fieldLines() []entry {
	var all []entry
	for name, f := range map[string]string{
		"empty value": "X:", "spaces around": "X: \t y \t ", "obs-text": "X: \xff\xfe", "UTF-8": "X: é", "tab inside": "X: a\tb", "all token characters": "!#$%&'*+-.^_`|~09azAZ: y", "colon in value": "X: a:b", "same twice": "X: y\r\nX: z", "underscore": "X_Y: z", "other names": "X-Forwarded-For: 1.2.3.4",
	} {
		all = append(all, sends(name, get("{T}/x", f), "GET a.test /x"))
	}
	for _, f := range []string{"X", "X y", ": y", "X : y", "X\t: y", " X: y", "\tX: y", "X: y\r\n z", "X: y\r\n\tz", "X: y\r\n ", "X y: z", "X\x00: y", "X: \x00", "X: y\x00z", "X: y\rz", "X: y\r", "X: y\nz", "X: y\n", "X: \x01", "X: \x0b", "X: \x0c", "X: \x1b", "X: \x7f", "X(: y", "X): y", "X,: y", "X/: y", "X;: y", "X<: y", "X=: y", "X>: y", "X?: y", "X@: y", "X[: y", "X\\: y", "X]: y", "X{: y", "X}: y", "\"X\": y", "X\xff: y", "é: y", "\u200bX: y", ":method: GET", ":authority: b.test", "\r: y", "X: y\n\r\n" + strings.TrimSuffix(smuggled, "\r\n\r\n"), "X: y\r\r\n", "X: y\n\n" + strings.TrimSuffix(smuggled, "\r\n\r\n")} {
		all = append(all, refuses(fmt.Sprintf("%.24q", f), get("{T}/x", f)))
	}
	// What names another place than the one that was judged does not pass: see gone.
	for _, f := range misleading {
		all = append(all, sends("stripped "+f, get("{T}/x", f+": CANARY"), "GET a.test /x"))
	}
	return all
}

// misleading are fields that must not arrive: their value is CANARY.
var misleading = []string{
	"X-Forwarded-Host", "X-Original-URL", "X-Rewrite-URL", "X-Host", "Forwarded", "X-Forwarded-Server", "X-Original-Host", "X_Original_URL", "x-original-url", "X-Forwarded-Path", "X-Forwarded-Prefix", "X-Forwarded-URI", "X-Envoy-Original-Path", "X-HTTP-Host-Override", "X.Original.URL", "X_Forwarded-Host", "X-Original-Method", "X-Forwarded-Method", "X-Rewrite-Method", "X-Envoy-Original-Dst-Host", "X-CF-Forwarded-Url", "X-Matched-Path", "X_Invoke_Path", "X-Request-URI", "X-Original-Request-URI", "X-Rewrite-Path", "X-WAWS-Unencoded-URL",
	"X-Firma-Session-Id", "x-firma-agent", "X_Firma_User", "X.Firma.User", "X-Firma-", "Proxy-Authorization", "Proxy-Connection", "Proxy_Authorization", "Proxy", "Keep-Alive", "TE", "Trailer", "HTTP2-Settings", "Upgrade",
}

func hops() []entry {
	return []entry{
		sends("close", get("{T}/x", "Connection: close"), "GET a.test /x"),
		sends("nominated", get("{T}/x", "Connection: X-A, x-b", "X-A: CANARY", "X-B: CANARY"), "GET a.test /x"),
		sends("nominated before and behind", get("{T}/x", "X-A: CANARY", "Connection: x-a", "X-A: CANARY"), "GET a.test /x"),
		sends("nominated in a second field", get("{T}/x", "Connection: close", "Connection: x-a", "X-A: CANARY"), "GET a.test /x"),
		sends("empty elements", get("{T}/x", "Connection: ,, close ,"), "GET a.test /x"),
		refuses("nominated by no token", get("{T}/x", "Connection: x a")),
		refuses("nominated with quotes", get("{T}/x", "Connection: \"close\"")),
		refuses("Host nominated", get("{T}/x", "Connection: Host")),
		refuses("Authorization nominated", get("{T}/x", "Connection: authorization", "Authorization: x")),
		refuses("Cookie nominated", get("{T}/x", "Connection: cookie", "Cookie: x")),
		refuses("X-Forwarded-For nominated", get("{T}/x", "Connection: close, X-Forwarded-For", "X-Forwarded-For: x")),
		refuses("override nominated", with("POST", "{T}/x", "Connection: X-HTTP-Method-Override", "X-HTTP-Method-Override: GET")),
		refuses("control character", get("{T}/x", "Connection: close\x00")),
		sends("Proxy-Connection", get("{T}/x", "Proxy-Connection: CANARY"), "GET a.test /x"),
	}
}

func overrides() []entry {
	var all []entry
	for _, q := range []string{"_method=TRACE", "a;_METHOD=trace", "%5Fmethod=TR%41CE", "_method=GET&_method=TRACE", "_HttpMethod=TRACE", "X-HTTP-Method-Override=TRACE"} {
		all = append(all, denies("in the query "+q, "UnclassifiedIntent", with("POST", "{T}/x?"+q, "Content-Length: 0")))
	}
	for _, f := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "x_http_method_override", "X-Http_Method-override", "X.HTTP.Method.Override"} {
		all = append(all,
			sends(f+" known", with("POST", "{T}/x", f+": delete"), "POST a.test /x"),
			refuses(f+" unknown", with("POST", "{T}/x", f+": BREW")),
			refuses(f+" CONNECT", with("POST", "{T}/x", f+": CONNECT")),
			refuses(f+" empty", with("POST", "{T}/x", f+":")),
			refuses(f+" list", with("POST", "{T}/x", f+": GET, DELETE")),
			refuses(f+" twice", with("POST", "{T}/x", f+": GET", f+": DELETE")),
			refuses(f+" in two fields", with("POST", "{T}/x", f+": GET", "x-method_override: PUT")))
	}
	return all
}

func expects() []entry {
	return []entry{
		sends("with all of the body", post("hello", "Expect: 100-continue", "Content-Length: 5"), "POST a.test /p hello"),
		sends("in other case", post("hello", "Expect: 100-Continue", "Content-Length: 5"), "POST a.test /p hello"),
		sends("without a body", get("{T}/x", "Expect: 100-continue"), "GET a.test /x"),
		sends("in HTTP/1.0", "POST {T}/p HTTP/1.0\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", "POST a.test /p hello"),
		sends("then another", post("hello", "Expect: 100-continue", "Content-Length: 5")+next, "POST a.test /p hello", "GET a.test /next"),
		refuses("something else", post("hello", "Expect: x", "Content-Length: 5")),
		refuses("two", post("hello", "Expect: 100-continue", "Expect: 100-continue", "Content-Length: 5")),
		refuses("list", post("hello", "Expect: 100-continue, x", "Content-Length: 5")),
		refuses("with a line", post("hello", "Expect: 100-continue\r\n x", "Content-Length: 5")),
		refuses("empty", post("hello", "Expect:", "Content-Length: 5")),
		refuses("with y", post("hello", "Expect: y 100-continue", "Content-Length: 5")),
		refuses("with a parameter", post("hello", "Expect: 100-continue;a", "Content-Length: 5")),
		refuses("101", post("hello", "Expect: 101-continue", "Content-Length: 5")),
	}
}

func upgrades() []entry {
	h2c := []string{"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: CANARY"}
	return []entry{
		sends("h2c", get("{T}/x", h2c...), "GET a.test /x"),
		sends("h2c, preface behind", get("{T}/x", h2c...)+next, "GET a.test /x", "GET a.test /next"),
		sends("h2c in other case", get("{T}/x", "Connection: upgrade", "Upgrade: H2C"), "GET a.test /x"),
		sends("TLS", get("{T}/x", "Connection: Upgrade", "Upgrade: TLS/1.3"), "GET a.test /x"),
		sends("not nominated", get("{T}/x", "Upgrade: websocket"), "GET a.test /x"),
		sends("list", get("{T}/x", "Connection: Upgrade", "Upgrade: websocket, h2c"), "GET a.test /x"),
		sends("websocket by POST", with("POST", "{T}/x", "Connection: Upgrade", "Upgrade: websocket"), "POST a.test /x"),
		sends("websocket with a body", get("{T}/x", "Connection: Upgrade", "Upgrade: websocket", "Content-Length: 5")+"hello", "GET a.test /x hello"),
		sends("websocket in HTTP/1.0", "GET {T}/x HTTP/1.0\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "GET a.test /x"),
		refuses("two", get("{T}/x", "Connection: Upgrade", "Upgrade: websocket", "Upgrade: h2c")),
		{name: "preface behind a request", send: get("{T}/x") + "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", sent: []string{"GET a.test /x"}, refused: 1},
	}
}

func sizes() []entry {
	long := func(n int) string { return strings.Repeat("a", n) }
	return []entry{
		sends("long target", get("{T}/"+long(15000)), "GET a.test /"+long(15000)),
		refuses("too long target", get("{T}/"+long(17000))),
		refuses("endless target", "GET {T}/"+long(300000)),
		refuses("endless method", long(300000)),
		sends("long field", get("{T}/x", "X: "+long(60000)), "GET a.test /x"),
		refuses("too long field", get("{T}/x", "X: "+long(140000))),
		refuses("too long name", get("{T}/x", long(140000)+": x")),
		sends("many fields", get("{T}/x", strings.Repeat("X: y\r\n", 150)+"X: y"), "GET a.test /x"),
		refuses("too many fields", get("{T}/x", strings.Repeat("X: y\r\n", 250)+"X: y")),
		refuses("too many fields, empty", get("{T}/x", strings.Repeat("X:\r\n", 5000)+"X:")),
		refuses("too long in sum", get("{T}/x", strings.Repeat("X: "+long(1000)+"\r\n", 150)+"X: y")),
		refuses("too long host", "GET {T}/x HTTP/1.1\r\nHost: "+long(20000)+"\r\n\r\n"),
		sends("long body", post(long(300000), "Content-Length: 300000")+next, "POST a.test /p "+long(300000), "GET a.test /next"),
		sends("long chunked body", post(strings.Repeat(fmt.Sprintf("%x\r\n%s\r\n", 9000, long(9000)), 20)+"0\r\n\r\n", "Transfer-Encoding: chunked")+next, "POST a.test /p "+long(180000), "GET a.test /next"),
		sends("small chunks", post(strings.Repeat("1\r\na\r\n", 3000)+"0\r\n\r\n", "Transfer-Encoding: chunked")+next, "POST a.test /p "+long(3000), "GET a.test /next"),
	}
}

// incompletes end, or stall, before they are whole.
func incompletes() []entry {
	return []entry{
		refuses("half a request line", "GET {T}/x").ended(),
		refuses("a request line", "GET {T}/x HTTP/1.1\r\n").ended(),
		refuses("half a field", "GET {T}/x HTTP/1.1\r\nHost: a.te").ended(),
		refuses("no empty line", "GET {T}/x HTTP/1.1\r\nHost: a.test\r\n").ended(),
		refuses("one byte short", "GET {T}/x HTTP/1.1\r\nHost: a.test\r\n\r").ended(),
		refuses("stalled", "GET {T}/x HTTP/1.1\r\nHost: a.te"),
		refuses("one byte", "G"),
	}
}
