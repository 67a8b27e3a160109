package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"firma/internal/intent"
	"firma/internal/sidecar/field"
	"firma/internal/sidecar/http1"
	"firma/internal/verdict"
)

// composed reads requests off a client's bytes as a connection does, without one,
// and returns what would be sent, all allowed, and what was judged.
func composed(wire []byte, to *destination) (sent []byte, judged []string) {
	c := &conn{in: http1.NewReader(bytes.NewReader(wire)), fixed: to}
	c.x.c = c
	c.srv = &Server{}
	for {
		for done := false; !done; {
			var err error
			if done, err = c.in.Request(&c.req); err != nil {
				return sent, judged
			}
			if !done && c.in.Fill() != nil {
				return sent, judged
			}
		}
		if to == nil && string(c.req.Method) == "CONNECT" {
			return sent, judged
		}
		c.call, c.push = intent.Call{}, pushed{}
		if _, err := c.read(); err != nil {
			return sent, judged
		}
		x := &c.x
		x.reset(verdict.Decision{RedactHeaders: []string{"x-secret"}})
		again := c.req.KeepAlive
		c.req.Detach()
		if x.compose() != nil {
			return sent, judged
		}
		msg, chunked := x.msg, c.req.Framing == http1.Chunked
		for !x.inline { // what the client's goroutine does
			p, err := x.body.Next()
			switch {
			case p != nil && chunked:
				msg = append(append(http1.AppendChunkSize(msg, len(p)), p...), crlf...)
			case p != nil:
				msg = append(msg, p...)
			case err == io.EOF && chunked:
				msg = append(msg, http1.LastChunk...)
				x.inline = true
			case err == io.EOF:
				x.inline = true
			case err != nil || x.body.Fill() != nil:
				return sent, judged
			}
		}
		sent = append(sent, msg...)
		judged = append(judged, fmt.Sprintf("%s %s %s", c.call.Method, c.call.HostPort(), c.call.Target()))
		if !again || x.socket != nil {
			return sent, judged
		}
	}
}

var (
	lineForm  = regexp.MustCompile("^([!#$%&'*+.^_`|~0-9A-Za-z-]+) (/[!$%&'()*+,./0-9:;=?@A-Z_a-z~-]*) HTTP/1\\.1$")
	fieldForm = regexp.MustCompile("^([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([^\\x00-\\x08\\x0a-\\x1f\\x7f]*)$")
	sizeForm  = regexp.MustCompile("^[0-9a-f]{1,8}$")
)

// strictly reads requests by the letter of RFC 9112 and by what this proxy
// promises to send, which is less than the RFC permits.
func strictly(sent string, transport string) (seen []string, err error) {
	for sent != "" {
		head, rest, ok := strings.Cut(sent, "\r\n\r\n")
		if !ok {
			return seen, fmt.Errorf("no end of the head: %q", sent)
		}
		lines := strings.Split(head, "\r\n")
		m := lineForm.FindStringSubmatch(lines[0])
		if m == nil {
			return seen, fmt.Errorf("request line %q", lines[0])
		}
		var hosts, lengths, codings []string
		for _, l := range lines[1:] {
			f := fieldForm.FindStringSubmatch(l)
			if f == nil || strings.Trim(f[2], " \t") != f[2] {
				return seen, fmt.Errorf("field %q", l)
			}
			cgi := strings.Map(func(r rune) rune {
				if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
					return r
				}
				return '-'
			}, strings.ToLower(f[1]))
			switch {
			case cgi == "host":
				hosts = append(hosts, f[2])
			case cgi == "content-length":
				lengths = append(lengths, f[2])
			case cgi == "transfer-encoding":
				codings = append(codings, f[2])
			case cgi == "connection" || cgi == "upgrade":
				if f[2] != "Upgrade" && f[2] != "websocket" {
					return seen, fmt.Errorf("field %q", l)
				}
			case cgi == "te", cgi == "trailer", cgi == "keep-alive" && f[1] != "keep_alive", cgi == "x-secret", strings.HasPrefix(cgi, "proxy-"), strings.HasPrefix(cgi, "x-firma-"), field.Ours(f[1]):
				return seen, fmt.Errorf("field %q passed", l)
			case strings.Contains(cgi, "method-override"), cgi == "x-http-method":
				if field.Override(f[1]) && !intent.KnownMethod(f[2]) {
					return seen, fmt.Errorf("field %q", l)
				}
			}
		}
		if len(hosts) != 1 || len(lengths)+len(codings) > 1 || len(codings) == 1 && codings[0] != "chunked" {
			return seen, fmt.Errorf("hosts %q, lengths %q, codings %q", hosts, lengths, codings)
		}
		call, err := intent.FromOrigin(transport, m[1], hosts[0], m[2])
		if err != nil || call.Target() != m[2] || call.HostPort() != hosts[0] {
			return seen, fmt.Errorf("%q is not canonical: %v", m[0], err)
		}
		seen = append(seen, m[1]+" "+hosts[0]+" "+m[2])
		switch {
		case len(lengths) == 1:
			n, err := strconv.ParseUint(lengths[0], 10, 62)
			if err != nil || uint64(len(rest)) < n {
				return seen, fmt.Errorf("length %q of %d", lengths[0], len(rest))
			}
			rest = rest[n:]
		case len(codings) == 1:
			for last := false; !last; {
				size, data, ok := strings.Cut(rest, "\r\n")
				n, _ := strconv.ParseUint(size, 16, 32)
				if !ok || !sizeForm.MatchString(size) || uint64(len(data)) < n+2 || data[n:n+2] != "\r\n" {
					return seen, fmt.Errorf("chunk %.40q", rest)
				}
				rest, last = data[n+2:], n == 0
			}
		}
		sent = rest
	}
	return seen, nil
}

// FuzzComposedIsJudged is FuzzJudgedIsSent without connections, many times as fast,
// and with a second, strict reader.
func FuzzComposedIsJudged(f *testing.F) {
	for _, wire := range malformedWire {
		f.Add([]byte(wire+get+"\r\n"), false)
		f.Add([]byte(strings.ReplaceAll(wire, "http://api.example.com", "")+get+"\r\n"), true)
	}
	for _, wire := range []string{
		get + "\r\n" + post + "Content-Length: 5\r\n\r\nhello" + get + "\r\n",
		post + "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n" + get + "\r\n",
		post + "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
		get + "Connection: x-a, upgrade\r\nUpgrade: websocket\r\nX-A: 1\r\nX-Http.Method_Override: delete\r\nX.Original.URL: /\r\nX-Secret: y\r\n\r\n",
		"GET http://%61.test/a/%2e%2e//b%2fc;x?%62=%c3%a9#f HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
		"OPTIONS http://[2001:DB8::1]:8080 HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET http://0x7f.1/\xc3\xa9 HTTP/1.0\r\n\r\n",
		"GET http://B\u00dcCHER.test./?a b HTTP/1.1\r\nHost:\tb\u00fccher.test\r\n\r\n",
		"GET /x HTTP/1.1\r\nHost: api.example.com:443\r\nContent_Length: 3\r\n\r\n", "GET https://api.example.com/x HTTP/1.1\r\nHost: API.example.com\r\n\r\n",
	} {
		f.Add([]byte(wire), false)
		f.Add([]byte(strings.ReplaceAll(wire, "http://api.example.com", "")), true)
	}
	f.Fuzz(compareReaders)
}

// parts are what requests, and lies about them, are made of.
var parts = []string{
	"GET ", "POST ", "HEAD ", "OPTIONS ", "get ", "G\x00T ", "http://api.example.com", "https://api.example.com", "http://b.test", "HTTP://", "//", "/", "/x", "/../", "/./", "/%2e%2e/", "%2f", "%00", "%c0%ae", "..;", ";a=b", "?", "a=b", "&", "#", "@", ":", ":80", ":443", ":080", "*", "\\", "%", "%25", "%5c", "%0d%0a",
	" HTTP/1.1\r\n", " HTTP/1.0\r\n", " HTTP/1.1", " HTTP/2.0\r\n", "\r\n", "\n", "\r", "\r\n\r\n", " ", "\t", "\x00", "\x0b", "\x7f", "\x80", "\xff", "\u00a0", "\u00e9", "\uff0e", "\u3002", "\r\n ", "\r\n\t",
	"Host: api.example.com\r\n", "Host: API.example.com.\r\n", "Host: b.test\r\n", "Host:", "Host", "Content-Length: 5\r\n", "Content-Length: ", "Content-Length", "Content_Length: 5\r\n", "content.length: 5\r\n", "Transfer-Encoding: chunked\r\n", "Transfer-Encoding: ", "Transfer-Encoding", "transfer_encoding: chunked\r\n", "chunked", "identity", ", ", "5", "0", "+", "-", "0x", "a",
	"Connection: ", "Connection: close\r\n", "Connection: keep-alive\r\n", "Connection: upgrade\r\n", "Upgrade: websocket\r\n", "Upgrade: h2c\r\n", "upgrade", "keep-alive", "close", "x-a", "X-A: b\r\n", "Expect: 100-continue\r\n", "TE: trailers\r\n", "Trailer: x\r\n", "X-HTTP-Method-Override: ", "x.http_method: delete\r\n", "PUT\r\n", "X-Original-URL: /y\r\n", "X-Firma-User: x\r\n", "Proxy-Authorization: x\r\n", "X-Secret: y\r\n", "x_secret: y\r\n", "Cookie: a\r\n",
	"0\r\n\r\n", "5\r\nhello\r\n", "5;a=b\r\nhello\r\n", "hello", "5\nhello\n", "0\r\n", "0\r\nX: y\r\n\r\n", "ffffffffffffffff\r\n", "GET http://api.example.com/y HTTP/1.1\r\nHost: api.example.com\r\n\r\n", "GET /y HTTP/1.1\r\nHost: api.example.com\r\n\r\n", "POST http://api.example.com/p HTTP/1.1\r\nHost: api.example.com\r\n", "POST /p HTTP/1.1\r\nHost: api.example.com\r\n", "GET / HTTP/1.1\r\n",
}

// FuzzComposedOfParts is FuzzComposedIsJudged of what each byte stands for.
func FuzzComposedOfParts(f *testing.F) {
	at := func(wanted ...string) (b []byte) {
		for _, p := range wanted {
			b = append(b, byte(slices.Index(parts, p)))
		}
		return b
	}
	start := at("POST http://api.example.com/p HTTP/1.1\r\nHost: api.example.com\r\n")
	next := at("GET http://api.example.com/y HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
	for _, mid := range [][]byte{
		at("Content-Length: 5\r\n", "\r\n", "hello"), at("Transfer-Encoding: chunked\r\n", "X-A: b\r\n", "\r\n", "5;a=b\r\nhello\r\n", "0\r\nX: y\r\n\r\n"), at("Expect: 100-continue\r\n", "Content-Length: 5\r\n", "Connection: ", "x-a", ", ", "keep-alive", "\r\n", "\r\n", "hello"),
		at("x.http_method: delete\r\n", "X-Original-URL: /y\r\n", "\r\n"), at("Content-Length: ", "0", "5", "\r\n", "Cookie: a\r\n", "\r\n", "hello"),
	} {
		f.Add(slices.Concat(start, mid, next), false)
	}
	f.Add(slices.Concat(at("GET ", "http://api.example.com", "/x", "/../", "%2f", "a", "?", "a=b", " HTTP/1.1\r\n", "Host: API.example.com.\r\n", "\r\n"), next), false)
	f.Add(at("GET ", "/x", "/%2e%2e/", "a", ";a=b", "?", "%00", " HTTP/1.0\r\n", "Connection: keep-alive\r\n", "\r\n", "GET /y HTTP/1.1\r\nHost: api.example.com\r\n\r\n"), true)
	f.Fuzz(func(t *testing.T, picks []byte, intercepted bool) {
		var wire []byte
		for _, b := range picks {
			wire = append(wire, parts[int(b)%len(parts)]...)
		}
		compareReaders(t, wire, intercepted)
	})
}

var insideDestination = newDestination(&intent.Call{Host: "api.example.com", Port: 443}, intent.HTTPS)

// compareReaders fails if anybody reads something in what is sent that was not
// judged.
func compareReaders(t *testing.T, wire []byte, intercepted bool) {
	to, transport := (*destination)(nil), intent.HTTP
	if intercepted {
		to, transport = insideDestination, intent.HTTPS
	}
	sent, judged := composed(wire, to)
	seen, err := strictly(string(sent), transport)
	if err != nil || !slices.Equal(seen, judged) {
		t.Fatalf("sent %q\nread strictly: %q, %v\njudged: %q", sent, seen, err, judged)
	}
	seen = nil
	for r := bufio.NewReader(bytes.NewReader(sent)); ; {
		req, err := http.ReadRequest(r)
		if err == io.EOF {
			break
		}
		if err == nil {
			_, err = io.Copy(io.Discard, req.Body)
		}
		if err != nil {
			t.Fatalf("sent %q\nnet/http: %v", sent, err)
		}
		seen = append(seen, req.Method+" "+req.Host+" "+req.RequestURI)
	}
	if !slices.Equal(seen, judged) {
		t.Fatalf("sent %q\nread by net/http: %q\njudged: %q", sent, seen, judged)
	}
}
