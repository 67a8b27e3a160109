package corpus

import (
	"fmt"
	"strings"
)

func post(body string, fields ...string) string { return with("POST", "{T}/p", fields...) + body }

const smuggled = "GET {T}/admin/x HTTP/1.1\r\nHost: a.test\r\n\r\n"

func framings() []entry {
	all := []entry{
		sends("length", post("hello", "Content-Length: 5"), "POST a.test /p hello"),
		sends("length with zeros", post("hello", "Content-Length: 0005"), "POST a.test /p hello"),
		sends("length zero", post("", "Content-Length: 0"), "POST a.test /p"),
		sends("no length", post(""), "POST a.test /p"),
		sends("length in other case", post("hello", "cONTENT-lENGTH: 5"), "POST a.test /p hello"),
		sends("length without space", post("hello", "Content-Length:5"), "POST a.test /p hello"),
		sends("length with spaces", post("hello", "Content-Length: \t 5 \t"), "POST a.test /p hello"),
		sends("GET with length", with("GET", "{T}/p", "Content-Length: 5")+"hello", "GET a.test /p hello"),
		sends("HEAD-like body is a body", with("DELETE", "{T}/p", "Content-Length: 5")+"hello", "DELETE a.test /p hello"),
		sends("body is no request", post(strings.ReplaceAll(smuggled, "{T}", ""), fmt.Sprintf("Content-Length: %d", len(strings.ReplaceAll(smuggled, "{T}", "")))), "POST a.test /p "+strings.ReplaceAll(smuggled, "{T}", "")),
		sends("no body, then another", post("")+next, "POST a.test /p", "GET a.test /next"),
		sends("two, then a forbidden one", post("hello", "Content-Length: 5")+next, "POST a.test /p hello", "GET a.test /next"),
		{name: "more than the length", send: post("hello", "Content-Length: 5") + "XX" + next, sent: []string{"POST a.test /p hello"}, refused: 1, reason: "UnclassifiedIntent"},
		{name: "more than the length, binary", send: post("hello", "Content-Length: 5") + "\x00" + next, sent: []string{"POST a.test /p hello"}, refused: 1},
		sends("chunked", post("5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked"), "POST a.test /p hello"),
		sends("chunked in other case", post("5\r\nhello\r\n0\r\n\r\n", "tRANSFER-eNCODING: CHUNKED"), "POST a.test /p hello"),
		sends("chunked, then another", post("5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked")+next, "POST a.test /p hello", "GET a.test /next"),
		sends("chunked GET", with("GET", "{T}/p", "Transfer-Encoding: chunked")+"1\r\nx\r\n0\r\n\r\n", "GET a.test /p x"),
		refuses("chunked in HTTP/1.0", "POST {T}/p HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
		refuses("chunked in HTTP/1.0, kept alive", "POST {T}/p HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+smuggled),
	}
	body := "0\r\n\r\n" + smuggled
	for _, fields := range [][]string{
		{"Content-Length: 5", "Transfer-Encoding: chunked"}, {"Transfer-Encoding: chunked", "Content-Length: 5"}, {"Transfer-Encoding: chunked", "Content-Length: 0"}, {"Content-Length: 5", "Content-Length: 5"}, {"Content-Length: 5", "Content-Length: 6"}, {"Content-Length: 0", "Content-Length: 5"}, {"Content-Length: 5, 5"}, {"Content-Length: 5,6"}, {"Content-Length: 5,"}, {"Content-Length:"}, {"Content-Length: "}, {"Content-Length: +5"}, {"Content-Length: -5"}, {"Content-Length: -0"}, {"Content-Length: 0x5"}, {"Content-Length: 5.0"}, {"Content-Length: 5e0"}, {"Content-Length: 5 5"}, {"Content-Length: 5\x00"}, {"Content-Length: \x0b5"}, {"Content-Length: 5;"}, {"Content-Length: \"5\""}, {"Content-Length: 5a"}, {"Content-Length: a5"}, {"Content-Length: 1_0"}, {"Content-Length: ５"}, {"Content-Length: \u00a05"},
		{"Content-Length: 18446744073709551621"}, {"Content-Length: 9223372036854775808"}, {"Content-Length: 4294967301x"}, {"Content-Length: 00000000000000000000000000005"},
		{"Content-Length : 5"}, {"Content-Length\t: 5"}, {" Content-Length: 5"}, {"Content-Length\x00: 5"}, {"Content Length: 5"}, {"Content_Length: 5"}, {"Content-Length: 5", "Content_Length: 5"}, {"content_length: 0", "Content-Length: 5"}, {"X: y\r\n Content-Length: 5"}, {"Content-Length:\r\n 5"}, {"Content-Length: 5\r\n ,6"}, {"X: y\rContent-Length: 5"}, {"X: y\nContent-Length: 5"},
		{"Transfer-Encoding: chunked, chunked"}, {"Transfer-Encoding: chunked", "Transfer-Encoding: chunked"}, {"Transfer-Encoding: identity"}, {"Transfer-Encoding: identity", "Content-Length: 5"}, {"Transfer-Encoding: identity, chunked"}, {"Transfer-Encoding: chunked, identity"}, {"Transfer-Encoding: gzip, chunked"}, {"Transfer-Encoding: gzip"}, {"Transfer-Encoding: gzip", "Transfer-Encoding: chunked"}, {"Transfer-Encoding: chunked", "Transfer-Encoding: identity"}, {"Transfer-Encoding: chunked", "Transfer-Encoding: x"}, {"Transfer-Encoding: x", "Transfer-Encoding: chunked"}, {"Transfer-Encoding:"}, {"Transfer-Encoding: "}, {"Transfer-Encoding:", "Transfer-Encoding: chunked"}, {"Transfer-Encoding: ,chunked"}, {"Transfer-Encoding: chunked,"}, {"Transfer-Encoding: xchunked"}, {"Transfer-Encoding: chunkedx"}, {"Transfer-Encoding: chunke"}, {"Transfer-Encoding: chunked;q=1"}, {"Transfer-Encoding: chunked;"}, {"Transfer-Encoding: \"chunked\""}, {"Transfer-Encoding: 'chunked'"}, {"Transfer-Encoding: [chunked]"}, {"Transfer-Encoding: chunked x"}, {"Transfer-Encoding: chun ked"}, {"Transfer-Encoding: \x0bchunked"}, {"Transfer-Encoding: \x0cchunked"}, {"Transfer-Encoding: chunked\x00"}, {"Transfer-Encoding: \x00chunked"}, {"Transfer-Encoding: chunked\x0b"}, {"Transfer-Encoding: \u00a0chunked"}, {"Transfer-Encoding: \xffchunked"}, {"Transfer-Encoding: chun\u212aed"}, {"Transfer-Encoding: \"\\\"chunked"},
		{"Transfer-Encoding : chunked"}, {"Transfer-Encoding\t: chunked"}, {"Transfer-Encoding\x00: chunked"}, {"Transfer-Encoding\x0b: chunked"}, {"Transfer-Encoding\xa0: chunked"}, {" Transfer-Encoding: chunked"}, {"\tTransfer-Encoding: chunked"}, {"Transfer Encoding: chunked"}, {"Transfer_Encoding: chunked"}, {"Transfer_Encoding: chunked", "Content-Length: 5"}, {"Transfer-Encoding: chunked", "Transfer_Encoding: identity"}, {"Transfer-Encoding:\r\n chunked"}, {"Transfer-Encoding: chunked\r\n , identity"}, {"Transfer-Encoding: x\r\n chunked"}, {"X: y\r\n\tTransfer-Encoding: chunked"}, {"X: y\rTransfer-Encoding: chunked"}, {"X: y\nTransfer-Encoding: chunked"}, {"X: y\n\rTransfer-Encoding: chunked"}, {"X: y\r\rTransfer-Encoding: chunked"}, {"Transfer-Encoding: chunked\r"}, {"Transfer-Encoding\r: chunked"}, {"Transfer\r\n-Encoding: chunked"}, {"Transfer-Encoding"}, {"Transfer-Encoding chunked"}, {"Transfer-Encoding= chunked"}, {":Transfer-Encoding: chunked"}, {"Transfer-Encoding:: chunked"}, {"Tr\xe0nsfer-Encoding: chunked"}, {"Transfer.Encoding: chunked"}, {"Content.Length: 5"}, {"Content!Length: 5"}, {"Transfer~Encoding: chunked"},
		{"Transfer-Encoding: chunked", "Connection: Transfer-Encoding"}, {"Content-Length: 5", "Connection: Content-Length"}, {"Content-Length: 5", "Connection: close, content-length"}, {"Transfer-Encoding: chunked", "Connection: transfer-encoding, close"}, {"Content-Length: 5", "Connection: Content_Length"}, {"Connection: host"},
	} {
		all = append(all, refuses(fmt.Sprintf("%.70q", strings.Join(fields, "|")), post(body, fields...)))
	}
	return all
}

func chunks() []entry {
	coded := func(body string) string { return post(body, "Transfer-Encoding: chunked") }
	var all []entry
	for name, body := range map[string]string{
		"upper case": "A\r\nhellohello\r\n0\r\n\r\n", "zeros": "0005\r\nhello\r\n000\r\n\r\n", "sixteen digits": "0000000000000005\r\nhello\r\n0\r\n\r\n", "two": "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "extension": "5;a=b\r\nhello\r\n0;x\r\n\r\n", "quoted extension": "5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n", "trailer": "5\r\nhello\r\n0\r\nX: y\r\n\r\n",
		"trailers that frame": "5\r\nhello\r\n0\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\nHost: b.test\r\nX-HTTP-Method-Override: DELETE\r\nAuthorization: x\r\n\r\n", "extension with a tab": "5;\ta\r\nhello\r\n0\r\n\r\n",
	} {
		want := "POST a.test /p hello"
		if name == "upper case" {
			want += "hello"
		}
		all = append(all, sends(name, coded(body)+next, want, "GET a.test /next"))
	}
	for _, size := range []string{"", " ", "+5", "-5", "0x5", "0X5", "x5", "5x", "5g", "5 ", " 5", "\t5", "5\t", "5 ;a", "5\x00", "\x005", "5\x0b", "5,", "5.0", "05 5", "5\r", "5\r5", "5_0", "５", "ffffffffffffffff", "8000000000000005", "10000000000000005", "00000000000000005", "100000005x", "fffffffffffffff5", "7fffffffffffffff", "5;a\x00", "5;a\rb", "5;a\x01", "5\n", "5;a\n", "\"5\"", "5=", "5:", "h", strings.Repeat("0", 600), "5;" + strings.Repeat("a", 600)} {
		all = append(all, aborts(fmt.Sprintf("size %.30q", size), coded(size+"\r\nhello\r\n0\r\n\r\n"+smuggled)))
	}
	for name, body := range map[string]string{
		"LF after size": "5\nhello\r\n0\r\n\r\n", "LF after data": "5\r\nhello\n0\r\n\r\n", "CR after size": "5\rhello\r\n0\r\n\r\n", "CR after data": "5\r\nhello\r0\r\n\r\n", "LF after last": "5\r\nhello\r\n0\n\r\n", "LF at the end": "5\r\nhello\r\n0\r\n\n", "all LF": "5\nhello\n0\n\n", "longer than size": "5\r\nhello!\r\n0\r\n\r\n", "shorter than size": "6\r\nhello\r\n0\r\n\r\n", "much shorter": "50\r\nhello\r\n0\r\n\r\n", "two bytes for line end": "5\r\nhelloXX0\r\n\r\n", "no line end after data": "5\r\nhello0\r\n\r\n", "extension with LF": "5;a\nhello\r\n0\r\n\r\n", "extension hides a line": "5;a\nxx\r\nhello\r\n0\r\n\r\n", "last with data": "0\r\nhello\r\n\r\n",
		"trailer without colon": "0\r\nX\r\n\r\n", "trailer folded": "0\r\nX: y\r\n z\r\n\r\n", "trailer with LF": "0\r\nX: y\n\r\n", "trailer with space": "0\r\nX : y\r\n\r\n", "trailer with NUL": "0\r\nX: \x00\r\n\r\n", "trailer is a request": "0\r\nGET /x HTTP/1.1\r\n\r\n", "many trailers": "0\r\n" + strings.Repeat("X: y\r\n", 100) + "\r\n", "long trailer": "0\r\nX: " + strings.Repeat("y", 9000) + "\r\n\r\n", "framing without data": strings.Repeat("1;"+strings.Repeat("a", 400)+"\r\nx\r\n", 60) + "0\r\n\r\n",
	} {
		if name == "shorter than size" || name == "much shorter" { // the rest is data
			continue
		}
		all = append(all, aborts(name, coded(body+smuggled)))
	}
	return all
}

func pipelines() []entry {
	x, forbidden := get("{T}/x"), get("{T}/admin/y")
	ten := make([]string, 10)
	for i := range ten {
		ten[i] = "GET a.test /x"
	}
	return []entry{
		sends("ten", strings.Repeat(x, 10), ten...),
		{name: "second forbidden, third allowed", send: x + forbidden + next, sent: []string{"GET a.test /x", "GET a.test /next"}, refused: 1, reason: "CapabilityNotFound"},
		{name: "second malformed, third never read", send: x + "GET {T}/y HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n" + next, sent: []string{"GET a.test /x"}, refused: 1},
		{name: "second for another host", send: "GET {T}/x HTTP/1.1\r\nHost: a.test\r\n\r\nGET https://b.test/x HTTP/1.1\r\nHost: b.test\r\n\r\n", sent: []string{"GET a.test /x"}, refused: 1, only: inside},
		{name: "forbidden with a body that is a request", send: with("POST", "{T}/admin/y", "Content-Length: 35") + "GET /aaa HTTP/1.1\r\nHost: a.test\r\n\r\n" + next, sent: []string{"GET a.test /next"}, refused: 1, reason: "CapabilityNotFound"},
		{name: "forbidden, chunked", send: with("POST", "{T}/admin/y", "Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n" + next, sent: []string{"GET a.test /next"}, refused: 1, reason: "CapabilityNotFound"},
		{name: "forbidden, chunked badly", send: with("POST", "{T}/admin/y", "Transfer-Encoding: chunked") + "x\r\nhello\r\n0\r\n\r\n" + next, refused: 1, reason: "CapabilityNotFound"},
		{name: "forbidden, expecting", send: with("POST", "{T}/admin/y", "Expect: 100-continue", "Content-Length: 5") + "hello" + next, refused: 1, reason: "CapabilityNotFound"},
		sends("closes after the first", get("{T}/x", "Connection: close")+next, "GET a.test /x"),
		{name: "CRLF between", send: post("hello", "Content-Length: 5") + "\r\n" + next, sent: []string{"POST a.test /p hello"}, refused: 1},
		{name: "other hosts by absolute form", send: get("{T}/x") + "GET http://b.test/y HTTP/1.1\r\nHost: b.test\r\n\r\n", sent: []string{"GET a.test /x", "GET b.test /y"}, only: forward},
		{name: "other hosts by absolute form, https", send: get("{T}/x") + "GET https://b.test/y HTTP/1.1\r\nHost: b.test\r\n\r\n", sent: []string{"GET a.test /x", "GET b.test /y"}, only: forward},
		{name: "CONNECT behind a request", send: x + "CONNECT tunnel.test:443 HTTP/1.1\r\nHost: tunnel.test:443\r\n\r\n", sent: []string{"GET a.test /x"}, refused: 1, only: inside},
	}
}
