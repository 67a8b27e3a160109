package corpus

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frames is what a message over HTTP/2 consists of.
type frames struct {
	name   string
	fields []string // name, value, name, value
	body   string   // DATA; the stream ends with HEADERS if there is none
	more   []string // trailers
	sent   string   // as in entry.sent; "" is refused
	reason string
}

func h2class() map[string][]frames {
	std := []string{":method", "GET", ":scheme", "https", ":authority", "a.test", ":path", "/x"}
	set := func(over ...string) []string { // replaces a pseudo-header field
		out := append([]string{}, std...)
		for i := 0; i < len(over); i += 2 {
			for k := 0; k < len(std); k += 2 {
				if std[k] == over[i] {
					out[k+1] = over[i+1]
				}
			}
		}
		return out
	}
	with := func(more ...string) []string { return append(append([]string{}, std...), more...) }
	without := func(name string) []string {
		var out []string
		for i := 0; i < len(std); i += 2 {
			if std[i] != name {
				out = append(out, std[i], std[i+1])
			}
		}
		return out
	}
	x := "GET a.test /x"
	classes := map[string][]frames{}
	add := func(class string, f ...frames) { classes[class] = append(classes[class], f...) }
	add("pseudo-headers", frames{name: "plain", fields: std, sent: x},
		frames{name: "Host too", fields: with("host", "A.TEST:443"), sent: x},
		frames{name: "Host alone", fields: append(without(":authority"), "host", "a.test"), sent: x},
		frames{name: "two Hosts", fields: with("host", "a.test", "host", "a.test")},
		frames{name: "other Host", fields: with("host", "b.test")},
		frames{name: "empty Host", fields: with("host", "")},
		frames{name: "no authority", fields: without(":authority")},
		frames{name: "no method", fields: without(":method")}, frames{name: "no path", fields: without(":path")}, frames{name: "no scheme", fields: without(":scheme")},
		frames{name: "behind a field", fields: append([]string{"x", "y"}, std...)},
		frames{name: "one behind a field", fields: append(without(":path"), "x", "y", ":path", "/x")},
		frames{name: "unknown", fields: append([]string{":foo", "x"}, std...)}, frames{name: "status", fields: append([]string{":status", "200"}, std...)},
		frames{name: "upper case", fields: append([]string{":Method", "GET"}, std[2:]...)}, frames{name: "only a colon", fields: append([]string{":", "x"}, std...)},
		frames{name: "protocol without CONNECT", fields: append([]string{":protocol", "websocket"}, std...)})
	for i := 0; i < len(std); i += 2 {
		add("pseudo-headers", frames{name: std[i] + " twice", fields: append([]string{std[i], std[i+1]}, std...)},
			frames{name: std[i] + " empty", fields: set(std[i], "")})
		for _, v := range []string{"\r\n", "x\r\nHost: b.test", "\x00", "a\x00b", "a\nb", "a\rb", " ", "a b", "\t", "\x7f"} {
			add("pseudo-headers", frames{name: fmt.Sprintf("%s %q", std[i], v), fields: set(std[i], v)})
		}
	}
	for _, v := range []string{"a.test:80", "b.test", "a.test:8443", "u@a.test", "a.test@b.test", "a.test:443:443", "a.test/", "a.test/x", "a.test?", "a.test#", "https://a.test", "a.test,b.test", "a..test", ".a.test", "a%2etest", "[a.test]", "a.test:0443", "a.test:+443", "a.test:", "127.0.0.1", "[::1]", "\u0430.test", "a.test%00", "a.test\\"} {
		add("authority", frames{name: "other " + v, fields: set(":authority", v)})
	}
	for _, v := range []string{"A.TEST", "a.test.", "a.test:443", "ａ.test"} {
		add("authority", frames{name: "same " + v, fields: set(":authority", v), sent: x})
	}
	for _, v := range []string{"http", "HTTPS", "https:", "wss", "ftp", "javascript", "https://a.test/x?"} {
		add("pseudo-headers", frames{name: "scheme " + v, fields: set(":scheme", v)})
	}
	for _, m := range []string{"get", "Get", "G ET", "GET /admin HTTP/1.1\r\nX:", "GET\x00", "CONNECT", "(GET)", "É", strings.Repeat("G", 70), "PRI * HTTP/2.0"} {
		add("method", frames{name: fmt.Sprintf("%.20q", m), fields: set(":method", m)})
	}
	for _, m := range []string{"TRACE", "PROPFIND", "BREW"} {
		add("method", frames{name: m, fields: set(":method", m), reason: "UnclassifiedIntent"})
	}
	for _, p := range []string{"x", "*", "a.test/x", "https://a.test/x", "http://a.test/x", "?x", "#", "/x#f", "/x y", "/x HTTP/1.1\r\nHost: b.test\r\n\r\nGET /y", "/../x", "/a/..;/x", "/%2e%2e/x", "/a%2f..%2fx", "/%00", "/%0d%0a", "/%c0%ae", "/\xff", "/a\\b", "/%5c", "/%", "/%zz", "/x?a#b", "/x?%00", "\\x", "/x\tHTTP/1.1"} {
		add("path", frames{name: fmt.Sprintf("refused %.20q", p), fields: set(":path", p)})
	}
	for p, c := range map[string]string{"/": "/", "//x": "/x", "/a/../x": "/x", "/%78": "/x", "/a%2fb": "/a%2Fb", "/x?a=%62": "/x?a=b", "/é": "/%C3%A9", "//b.test/x": "/b.test/x", "/x?": "/x"} {
		add("path", frames{name: fmt.Sprintf("sent %q", p), fields: set(":path", p), sent: "GET a.test " + c})
	}
	for _, p := range []string{"/admin", "/%61dmin/x", "/a/../admin/x", "//admin/x", "/admin%2fx", "/admin;x/y"} {
		add("path", frames{name: "forbidden " + p, fields: set(":path", p), reason: "CapabilityNotFound"})
	}
	for _, f := range []string{"connection: close", "connection: x", "keep-alive: x", "proxy-connection: x", "transfer-encoding: chunked", "transfer-encoding: identity", "upgrade: h2c", "te: gzip", "te: trailers, gzip", "te: ", "te: TRAILERS x", "expect: x", "X: y", "x y: z", "x: y\r\nz: a", "x: y\nz", "x: y\rz", "x: \x00", "x:  y", "x: y ", "x: \x7f", "x\x00: y", ": y", "x:y: z", "x\r\n: y", "é: y", "x(: y", "transfer_encoding: chunked", "transfer.encoding: chunked", "content_length: 5", "content.length: 5", "content-length: 5", "content-length: -1", "content-length: +0", "content-length: 0, 0", "content-length: x", "content-length: ", "content-length: 99999999999999999999", "host: b.test", "host: a.test:80", "x-http-method-override: BREW", "x.http.method.override: BREW", "http2-settings\x00: y"} {
		name, value, _ := strings.Cut(f, ": ")
		if name == "x" && strings.HasPrefix(f, "x:y") {
			name, value = "x:y", "z"
		}
		if strings.HasPrefix(f, ": ") {
			name, value = "", "y"
		}
		add("fields", frames{name: fmt.Sprintf("refused %q", f), fields: with(name, value)})
	}
	for _, f := range []string{"te: trailers", "x: y", "x: ", "x_y: z", "cookie: a=b", "expect: 100-continue", "content-length: 0", "trailer: x", "proxy-authorization: CANARY", "proxy: CANARY", "x-forwarded-host: CANARY", "x-original-url: CANARY", "x_original.url: CANARY", "x-firma-session-id: CANARY", "x.firma.x: CANARY", "http2-settings: CANARY", "priority: u=1"} {
		name, value, _ := strings.Cut(f, ": ")
		add("fields", frames{name: fmt.Sprintf("passes or is dropped %q", f), fields: with(name, value), sent: x})
	}
	add("fields", frames{name: "length twice", fields: with("content-length", "0", "content-length", "0")},
		frames{name: "override twice", fields: with("x-http-method-override", "GET", "x-method-override", "PUT")},
		frames{name: "override", fields: append(set(":method", "POST"), "x-http-method-override", "put"), body: "a", sent: "POST a.test /x a"})
	postOf := func(more ...string) []string { return append(set(":method", "POST"), more...) }
	add("body", frames{name: "no length", fields: postOf(), body: "hello", sent: "POST a.test /x hello"},
		frames{name: "length", fields: postOf("content-length", "5"), body: "hello", sent: "POST a.test /x hello"},
		frames{name: "body is a request", fields: postOf(), body: "0\r\n\r\nGET /admin HTTP/1.1\r\nHost: a.test\r\n\r\n", sent: "POST a.test /x 0\r\n\r\nGET /admin HTTP/1.1\r\nHost: a.test"},
		frames{name: "GET with a body", fields: std, body: "GET /admin HTTP/1.1\r\nHost: a.test\r\n\r\n", sent: "GET a.test /x GET /admin HTTP/1.1\r\nHost: a.test"},
		frames{name: "trailers", fields: postOf("trailer", "x-t"), body: "hello", more: []string{"x-t", "y"}, sent: "POST a.test /x hello"},
		frames{name: "trailers that frame", fields: postOf("trailer", "content-length, transfer-encoding, host, authorization, x-http-method-override, x-original-url"), body: "hello", more: []string{"host", "CANARY", "authorization", "CANARY", "x-original-url", "CANARY"}, sent: "POST a.test /x hello"},
	)
	return classes
}

// TestHTTP2: what an HTTP/2 client says in an intercepted connection arrives at an
// HTTP/1.1 origin as it was judged.
func TestHTTP2(t *testing.T) {
	b := start(t)
	var outcomes []outcome
	total := 0
	for class, all := range h2class() {
		for _, f := range all {
			t.Run(class+"/"+f.name, func(t *testing.T) {
				outcomes = append(outcomes, b.runFrames(t, f))
			})
		}
		t.Logf("%s: %d", class, len(all))
		total += len(all)
	}
	t.Logf("in total: %d", total)
	compare(t, outcomes)
}

// raw2 is a client that sends the frames it is told to.
type raw2 struct {
	*http2.Framer
	net.Conn
	buf bytes.Buffer
	enc *hpack.Encoder
}

func (b *bench) http2(t *testing.T) *raw2 {
	t.Helper()
	r := &raw2{Conn: b.intercepted(t, "a.test", "h2")}
	r.Framer = http2.NewFramer(r.Conn, r.Conn)
	r.AllowIllegalWrites = true
	r.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	r.enc = hpack.NewEncoder(&r.buf)
	io.WriteString(r.Conn, http2.ClientPreface)
	must(t, r.WriteSettings())
	return r
}

func (r *raw2) block(fields []string) []byte {
	r.buf.Reset()
	for i := 0; i < len(fields); i += 2 {
		r.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(r.buf.Bytes())
}

// answer reads up to the end of the stream: its status, or how it ended.
func (r *raw2) answer(id uint32) string {
	status := ""
	for {
		f, err := r.ReadFrame()
		if err != nil {
			return "closed"
		}
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			if f.ErrCode != http2.ErrCodeNo {
				return "GOAWAY"
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == id && status == "" {
				return "RST"
			} else if f.StreamID == id {
				return status
			}
		case *http2.MetaHeadersFrame:
			if v := f.PseudoValue("status"); f.StreamID == id && v != "" && v != "100" {
				status = v
			}
			if f.StreamID == id && f.StreamEnded() {
				return status
			}
		case *http2.DataFrame:
			if f.StreamID == id && f.StreamEnded() {
				return status
			}
		}
	}
}

func (b *bench) runFrames(t *testing.T, f frames) outcome {
	t.Helper()
	r := b.http2(t)
	defer r.Close()
	must(t, r.SetDeadline(time.Now().Add(patience)))
	b.origin.take()
	b.events()
	none := f.body == "" && f.more == nil
	r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.block(f.fields), EndStream: none, EndHeaders: true})
	if f.body != "" {
		r.WriteData(1, f.more == nil, []byte(f.body))
	}
	if f.more != nil {
		r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.block(f.more), EndStream: true, EndHeaders: true})
	}
	got := r.answer(1)
	events := b.events()
	o := outcome{name: t.Name(), allowed: allowed(events), streams: b.origin.take()}
	if all := strings.Join(o.streams, ""); strings.Contains(all, "CANARY") {
		t.Errorf("what must not pass arrived: %q", all)
	}
	if f.sent != "" {
		o.entry.sent = []string{strings.TrimRight(f.sent, " ")}
		if got != "200" || len(o.allowed) != 1 || len(denied(events)) != 0 {
			t.Errorf("%s; allowed %q, denied %q", got, o.allowed, denied(events))
		}
		return o
	}
	reason := f.reason
	if reason == "" {
		reason = "MalformedRequest"
	}
	if got == "200" || len(o.allowed) != 0 || len(o.streams) > 0 || len(denied(events)) != 1 || denied(events)[0] != reason {
		t.Errorf("%s; allowed %q, denied %q, arrived %q; want %s", got, o.allowed, denied(events), o.streams, reason)
	}
	return o
}
