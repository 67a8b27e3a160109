package http1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// readRequest parses one request and its body from src.
func readRequest(src io.Reader) (q *Request, body []byte, trailer []Field, err error) {
	r := NewReader(src)
	q = &Request{}
	for {
		done, err := r.Request(q)
		if err != nil {
			return q, nil, nil, err
		}
		if done {
			break
		}
		if err := r.Fill(); err != nil {
			return q, nil, nil, err
		}
	}
	clone(&q.Head)
	q.Method, q.Target, q.Host = bytes.Clone(q.Method), bytes.Clone(q.Target), bytes.Clone(q.Host)
	body, trailer, err = readBody(r, &q.Head)
	return q, body, trailer, err
}

func clone(h *Head) {
	for i, f := range h.Fields {
		h.Fields[i] = Field{bytes.Clone(f.Name), bytes.Clone(f.Value)}
	}
	for i, o := range h.options {
		h.options[i] = bytes.Clone(o)
	}
	h.Upgrade = bytes.Clone(h.Upgrade)
}

func readBody(r *Reader, h *Head) (body []byte, trailer []Field, err error) {
	var b Body
	b.Reset(r, h)
	for {
		p, err := b.Next()
		switch {
		case p != nil:
			body = append(body, p...)
		case err == io.EOF:
			return body, b.Trailer, nil
		case err != nil:
			return body, nil, err
		default:
			if err := b.Fill(); err != nil {
				return body, nil, err
			}
		}
	}
}

func readResponse(src io.Reader, method string) (p *Response, body []byte, trailer []Field, err error) {
	r := NewReader(src)
	p = &Response{}
	for {
		done, err := r.Response(p, method)
		if err != nil {
			return p, nil, nil, err
		}
		if done {
			break
		}
		if err := r.Fill(); err != nil {
			return p, nil, nil, err
		}
	}
	clone(&p.Head)
	p.Reason = bytes.Clone(p.Reason)
	body, trailer, err = readBody(r, &p.Head)
	return p, body, trailer, err
}

func isMalformed(err error) bool {
	var e *Error
	return errors.As(err, &e)
}

const get = "GET http://a/ HTTP/1.1\r\nHost: a\r\n"

// acceptedRequests are complete requests with what must be read from them.
var acceptedRequests = []struct {
	name, wire string
	want       string // method target host framing keep-alive body
}{
	{"plain", get + "\r\n", "GET http://a/ a 0 true "},
	{"1.0 without Host", "GET http://a/ HTTP/1.0\r\n\r\n", "GET http://a/  0 false "},
	{"1.0 keep-alive", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "GET /  0 true "},
	{"close", get + "Connection: foo, ,close\r\n\r\n", "GET http://a/ a 0 false "},
	{"length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "POST / a 1 true hello"},
	{"length 0", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "POST / a 1 true "},
	{"length, odd case and space", "POST / HTTP/1.1\r\nhOsT:a\r\ncontent-LENGTH: \t 5 \t\r\n\r\nhello", "POST / a 1 true hello"},
	{"chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n001\r\n!\r\n0\r\n\r\n", "POST / a 2 true hello!"},
	{"chunk extensions", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=\"y z\"\r\nhello\r\n0;z\r\n\r\n", "POST / a 2 true hello"},
	{"trailers", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: b\r\nX-C:d\r\n\r\n", "POST / a 2 true  X-A=b X-C=d"},
	{"obs-text in a value", get + "X: \xff\x80\r\n\r\n", "GET http://a/ a 0 true "},
	{"empty value", get + "X:\r\nY: \r\n\r\n", "GET http://a/ a 0 true "},
	{"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "CONNECT a:443 a:443 0 true "},
	{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * a 0 true "},
	{"longest target", "GET /" + strings.Repeat("a", MaxLine-15) + " HTTP/1.1\r\nHost: a\r\n\r\n", "GET /" + strings.Repeat("a", MaxLine-15) + " a 0 true "},
	{"most fields", get + strings.Repeat("A: b\r\n", MaxFields-1) + "\r\n", "GET http://a/ a 0 true "},
	{"large head", get + "A: " + strings.Repeat("b", MaxHead-100) + "\r\n\r\n", "GET http://a/ a 0 true "},
}

func describe(q *Request, body []byte, trailer []Field) string {
	s := fmt.Sprintf("%s %s %s %d %v %s", q.Method, q.Target, q.Host, q.Framing, q.KeepAlive, body)
	for _, f := range trailer {
		s += fmt.Sprintf(" %s=%s", f.Name, f.Value)
	}
	return s
}

func TestAcceptedRequests(t *testing.T) {
	for _, tt := range acceptedRequests {
		for how, src := range map[string]io.Reader{
			"at once":   strings.NewReader(tt.wire),
			"by bytes":  iotest.OneByteReader(strings.NewReader(tt.wire)),
			"by halves": iotest.HalfReader(strings.NewReader(tt.wire)),
		} {
			q, body, trailer, err := readRequest(src)
			if err != nil {
				t.Errorf("%s, %s: %v", tt.name, how, err)
			} else if got := describe(q, body, trailer); got != tt.want {
				t.Errorf("%s, %s: %.200q, want %.200q", tt.name, how, got, tt.want)
			}
		}
	}
}

// refusedRequests are shapes that two parsers read differently, or nobody sends.
var refusedRequests = map[string]string{
	"bare LF everywhere":          "GET / HTTP/1.1\nHost: a\n\n",
	"bare LF after the line":      "GET / HTTP/1.1\nHost: a\r\n\r\n",
	"bare LF after a field":       "GET / HTTP/1.1\r\nHost: a\n\r\n",
	"bare LF at the end":          "GET / HTTP/1.1\r\nHost: a\r\n\n",
	"bare CR in a value":          get + "X: a\rb\r\n\r\n",
	"bare CR as line end":         get + "X: a\rContent-Length: 5\r\n\r\n",
	"CR CR LF":                    get + "X: a\r\r\n\r\n",
	"obs-fold":                    get + "X: a\r\n b\r\n\r\n",
	"obs-fold with a tab":         get + "X: a\r\n\tb\r\n\r\n",
	"obs-fold first":              "GET / HTTP/1.1\r\n X: a\r\nHost: a\r\n\r\n",
	"NUL in a value":              get + "X: a\x00b\r\n\r\n",
	"DEL in a value":              get + "X: a\x7fb\r\n\r\n",
	"VT before chunked":           get + "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n",
	"space before colon":          get + "Content-Length : 5\r\n\r\nhello",
	"tab before colon":            get + "Content-Length\t: 5\r\n\r\nhello",
	"no colon":                    get + "Content-Length\r\n\r\n",
	"empty name":                  get + ": a\r\n\r\n",
	"name with space":             get + "X Y: a\r\n\r\n",
	"name not ASCII":              get + "X\xc3\xa9: a\r\n\r\n",
	"no Host":                     "GET / HTTP/1.1\r\n\r\n",
	"two Hosts":                   get + "Host: b\r\n\r\n",
	"same Host twice":             get + "Host: a\r\n\r\n",
	"CL and TE":                   get + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"TE and CL":                   get + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
	"two CLs":                     get + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
	"same CL twice":               get + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
	"CL list":                     get + "Content-Length: 5, 5\r\n\r\nhello",
	"CL signed":                   get + "Content-Length: +5\r\n\r\nhello",
	"CL negative":                 get + "Content-Length: -5\r\n\r\nhello",
	"CL hex":                      get + "Content-Length: 0x5\r\n\r\nhello",
	"CL empty":                    get + "Content-Length:\r\n\r\n",
	"CL with inner space":         get + "Content-Length: 5 5\r\n\r\n",
	"CL fraction":                 get + "Content-Length: 5.0\r\n\r\n",
	"CL underscore digits":        get + "Content-Length: 1_0\r\n\r\n",
	"CL too large":                get + "Content-Length: 9223372036854775808\r\n\r\n",
	"CL wraps":                    get + "Content-Length: 18446744073709551621\r\n\r\nhello",
	"CL fullwidth digit":          get + "Content-Length: \xef\xbc\x95\r\n\r\nhello",
	"CL spelled with _":           get + "Content_Length: 5\r\n\r\nhello",
	"CL spelled with .":           get + "Content.Length: 5\r\n\r\nhello",
	"TE spelled with ~":           get + "Transfer~Encoding: chunked\r\n\r\n0\r\n\r\n",
	"TE spelled with _":           get + "Transfer_Encoding: chunked\r\n\r\n0\r\n\r\n",
	"TE identity":                 get + "Transfer-Encoding: identity\r\n\r\n",
	"TE gzip, chunked":            get + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
	"TE chunked, chunked":         get + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
	"TE chunked, identity":        get + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
	"TE xchunked":                 get + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
	"TE quoted":                   get + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
	"TE with parameter":           get + "Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n",
	"TE twice":                    get + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"TE empty":                    get + "Transfer-Encoding:\r\n\r\n",
	"TE in 1.0":                   "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"two spaces after method":     "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
	"two spaces before version":   "GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
	"tab in the request line":     "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
	"space in the target":         "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
	"space after version":         "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
	"leading space":               " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"leading empty line":          "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"NUL in the target":           "GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
	"no target":                   "GET HTTP/1.1\r\nHost: a\r\n\r\n",
	"empty target":                "GET  HTTP/1.1\r\nHost: a\r\n\r\n",
	"method not a token":          "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n",
	"HTTP/0.9":                    "GET /\r\n\r\n",
	"HTTP/1.2":                    "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
	"HTTP/2.0":                    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"http/1.1":                    "GET / http/1.1\r\nHost: a\r\n\r\n",
	"HTTP/1.10":                   "GET / HTTP/1.10\r\nHost: a\r\n\r\n",
	"HTTP/01.1":                   "GET / HTTP/01.1\r\nHost: a\r\n\r\n",
	"TLS":                         "\x16\x03\x01\x02\x00\x01",
	"SOCKS5":                      "\x05\x01\x00",
	"expectation":                 get + "Expect: 200-ok\r\n\r\n",
	"two expectations":            get + "Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n",
	"Connection: host":            get + "Connection: Host\r\n\r\n",
	"Connection: content-length":  get + "Connection: close, content-length\r\nContent-Length: 5\r\n\r\nhello",
	"Connection: authorization":   get + "Connection: authorization\r\n\r\n",
	"Connection: not a token":     get + "Connection: a b\r\n\r\n",
	"two Upgrades":                get + "Upgrade: a\r\nUpgrade: b\r\n\r\n",
	"line too long":               "GET /" + strings.Repeat("a", MaxLine) + " HTTP/1.1\r\nHost: a\r\n\r\n",
	"line too long, no end":       "GET /" + strings.Repeat("a", MaxLine+1),
	"head too long":               get + "A: " + strings.Repeat("b", MaxHead) + "\r\n\r\n",
	"head too long, no end":       get + strings.Repeat("A: "+strings.Repeat("b", 1000)+"\r\n", 140),
	"too many fields":             get + strings.Repeat("A: b\r\n", MaxFields) + "\r\n",
	"chunk size empty":            chunked("\r\n"),
	"chunk size negative":         chunked("-1\r\n"),
	"chunk size signed":           chunked("+5\r\nhello\r\n0\r\n\r\n"),
	"chunk size 0x":               chunked("0x5\r\nhello\r\n0\r\n\r\n"),
	"chunk size with space":       chunked("5 \r\nhello\r\n0\r\n\r\n"),
	"chunk size after space":      chunked(" 5\r\nhello\r\n0\r\n\r\n"),
	"chunk size huge":             chunked("fffffffffffffffff\r\n"),
	"chunk size wraps":            chunked("ffffffffffffffff\r\n"),
	"chunk size 17 digits":        chunked("00000000000000005\r\nhello\r\n0\r\n\r\n"),
	"chunk size bare LF":          chunked("5\nhello\r\n0\r\n\r\n"),
	"chunk size bare CR":          chunked("5\rhello\r\n0\r\n\r\n"),
	"chunk data bare LF":          chunked("5\r\nhello\n0\r\n\r\n"),
	"chunk longer than its size":  chunked("4\r\nhello\r\n0\r\n\r\n"),
	"chunk extension with LF":     chunked("5;a\nb\r\nhello\r\n0\r\n\r\n"),
	"chunk extension with NUL":    chunked("5;a\x00\r\nhello\r\n0\r\n\r\n"),
	"chunk extension too long":    chunked("5;" + strings.Repeat("a", maxChunkLine) + "\r\nhello\r\n0\r\n\r\n"),
	"chunk extensions everywhere": chunked(strings.Repeat("1;"+strings.Repeat("a", 400)+"\r\nx\r\n", 50) + "0\r\n\r\n"),
	"trailer bare LF":             chunked("0\r\nX: a\n\r\n"),
	"trailer obs-fold":            chunked("0\r\nX: a\r\n b\r\n\r\n"),
	"trailer without name":        chunked("0\r\n: a\r\n\r\n"),
	"trailer too long":            chunked("0\r\nX: " + strings.Repeat("a", MaxTrailer) + "\r\n\r\n"),
	"too many trailers":           chunked("0\r\n" + strings.Repeat("X: a\r\n", maxTrailerFields+1) + "\r\n"),
}

func chunked(body string) string {
	return "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body
}

func TestRefusedRequests(t *testing.T) {
	for name, wire := range refusedRequests {
		for how, src := range map[string]io.Reader{
			"at once": strings.NewReader(wire), "by bytes": iotest.OneByteReader(strings.NewReader(wire)),
		} {
			if q, body, trailer, err := readRequest(src); !isMalformed(err) {
				t.Errorf("%s, %s: %v, got %.200q", name, how, err, describe(q, body, trailer))
			}
		}
	}
}

// TestCutRequests: every proper prefix of a good request is incomplete, never
// complete and never malformed.
func TestCutRequests(t *testing.T) {
	for _, tt := range acceptedRequests {
		if len(tt.wire) > 1000 {
			continue
		}
		for n := range len(tt.wire) {
			_, _, _, err := readRequest(strings.NewReader(tt.wire[:n]))
			if err != io.EOF && err != io.ErrUnexpectedEOF {
				t.Errorf("%s cut after %d bytes: %v", tt.name, n, err)
			}
		}
	}
}

func TestPipelinedRequestsStaySeparate(t *testing.T) {
	r := NewReader(iotest.HalfReader(strings.NewReader(chunked("5\r\nhello\r\n0\r\nX: y\r\n\r\n") +
		"POST /2 HTTP/1.1\r\nHost: b\r\nContent-Length: 3\r\n\r\nabc" + get + "\r\n")))
	var q Request
	var got []string
	for range 3 {
		for {
			done, err := r.Request(&q)
			if err != nil {
				t.Fatal(err)
			}
			if done {
				break
			}
			if err := r.Fill(); err != nil {
				t.Fatal(err)
			}
		}
		line := fmt.Sprintf("%s %s", q.Target, q.Host)
		body, _, err := readBody(r, &q.Head)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, line+" "+string(body))
		r.Narrow()
	}
	if diff := cmp.Diff([]string{"/ a hello", "/2 b abc", "http://a/ a "}, got); diff != "" {
		t.Error(diff)
	}
}

func TestResponses(t *testing.T) {
	for _, tt := range []struct {
		method, wire, want string // status framing keep-alive body; "malformed"; "cut"
	}{
		{"GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "200 1 true hello"},
		{"GET", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "200 1 true "},
		{"GET", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "200 1 true "},
		{"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: y\r\n\r\n", "200 2 true hi X=y"},
		{"GET", "HTTP/1.1 200 OK\r\n\r\nuntil the end", "200 3 true until the end"},
		{"GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", "200 1 false x"},
		{"GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", "200 1 false x"},
		{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "200 0 true "},
		{"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "304 0 true "},
		{"GET", "HTTP/1.1 204 No Content\r\n\r\n", "204 0 true "},
		{"GET", "HTTP/1.1 100 Continue\r\n\r\n", "100 0 true "},
		{"GET", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", "101 0 true "},
		{"GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", "cut"},
		{"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "cut"},
		{"GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "malformed"},
		{"GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "malformed"},
		{"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "malformed"},
		{"GET", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "malformed"},
		{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n", "malformed"},
		{"GET", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", "malformed"},
		{"GET", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", "malformed"},
		{"GET", "HTTP/1.1  200 OK\r\n\r\n", "malformed"},
		{"GET", "HTTP/1.1 20 OK\r\n\r\n", "malformed"},
		{"GET", "HTTP/1.1 2000 OK\r\n\r\n", "malformed"},
		{"GET", "HTTP/1.1 099 OK\r\n\r\n", "malformed"},
		{"GET", "HTTP/2 200 OK\r\n\r\n", "malformed"},
		{"GET", "HTTP/1.1 200 O\x00K\r\n\r\n", "malformed"},
		{"GET", "HTTP/1.1 200 O\rK\r\n\r\n", "malformed"},
		{"GET", "ICY 200 OK\r\n\r\n", "malformed"},
		{"GET", "\x00\x00\x06\x04", "malformed"},
		{"GET", "HTTP/1.1 200 OK\r\nConnection: Set-Cookie\r\n\r\n", "malformed"},
	} {
		for _, src := range []io.Reader{strings.NewReader(tt.wire), iotest.OneByteReader(strings.NewReader(tt.wire))} {
			p, body, trailer, err := readResponse(src, tt.method)
			got := fmt.Sprintf("%d %d %v %s", p.Status, p.Framing, p.KeepAlive, body)
			for _, f := range trailer {
				got += fmt.Sprintf(" %s=%s", f.Name, f.Value)
			}
			switch {
			case isMalformed(err):
				got = "malformed"
			case err == io.EOF || err == io.ErrUnexpectedEOF:
				got = "cut"
			}
			if got != tt.want {
				t.Errorf("%s %q: %q, want %q (%v)", tt.method, tt.wire, got, tt.want, err)
			}
		}
	}
}

func TestUpgradeAndOptions(t *testing.T) {
	q, _, _, err := readRequest(strings.NewReader(get + "Connection: Upgrade, X-Hop\r\nUpgrade: websocket\r\nX-Hop: 1\r\nX-End: 2\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if string(q.Upgrade) != "websocket" || !q.Nominated([]byte("x-hop")) || q.Nominated([]byte("X-End")) {
		t.Errorf("%q %v", q.Upgrade, q.options)
	}
	q, _, _, _ = readRequest(strings.NewReader(get + "Upgrade: websocket\r\n\r\n"))
	if q.Upgrade != nil {
		t.Error("Upgrade counts although Connection does not name it")
	}
}

func TestManagedAndTrailerFields(t *testing.T) {
	for _, n := range []string{"Host", "TE", "Trailer", "Upgrade", "Connection", "Keep-Alive", "Content-Length", "HTTP2-Settings",
		"Transfer-Encoding", "Proxy-Connection", "Proxy-Authorization", "Proxy_Authorization", "Expect",
		"Proxy-1", "Proxy-12", "Proxy-Anything", "Proxy-Elevenlets"} {
		if !Managed([]byte(n)) || TrailerField([]byte(n)) {
			t.Errorf("%s would be copied", n)
		}
	}
	for _, n := range []string{"Authorization", "Cookie", "Accept", "X-Proxy-Thing", "Host2"} {
		if Managed([]byte(n)) {
			t.Errorf("%s would be dropped", n)
		}
	}
	for n, want := range map[string]bool{"Grpc-Status": true, "Server-Timing": true, "Content-Type": false, "Authorization": false, "Set-Cookie": false} {
		if TrailerField([]byte(n)) != want {
			t.Errorf("TrailerField(%s) = %v", n, !want)
		}
	}
}

// urlRefused reports whether net/http objects to the target only, which is the
// business of package intent.
func urlRefused(q *Request) bool {
	target := string(q.Target)
	if string(q.Method) == "CONNECT" && !strings.HasPrefix(target, "/") {
		target = "http://" + target
	}
	_, err := url.ParseRequestURI(target)
	return err != nil
}

func FuzzRequest(f *testing.F) {
	for _, tt := range acceptedRequests {
		if len(tt.wire) < 2000 {
			f.Add([]byte(tt.wire))
		}
	}
	for _, wire := range refusedRequests {
		if len(wire) < 2000 {
			f.Add([]byte(wire))
		}
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		q, body, _, err := readRequest(bytes.NewReader(wire))
		q1, body1, _, err1 := readRequest(iotest.OneByteReader(bytes.NewReader(wire)))
		if isMalformed(err) != isMalformed(err1) || err == nil && describe(q, body, nil) != describe(q1, body1, nil) {
			t.Fatalf("depends on how the bytes arrive: %v, %v", err, err1)
		}
		if err != nil {
			return
		}
		their, theirErr := http.ReadRequest(bufio.NewReader(bytes.NewReader(wire)))
		if theirErr != nil {
			if urlRefused(q) {
				return
			}
			t.Fatalf("accepted, but net/http says %v", theirErr)
		}
		theirBody, theirErr := io.ReadAll(their.Body)
		if theirErr != nil || !bytes.Equal(body, theirBody) {
			t.Fatalf("body %q, net/http %q (%v)", body, theirBody, theirErr)
		}
		compareHeads(t, q, their)
	})
}

func compareHeads(t *testing.T, q *Request, their *http.Request) {
	if string(q.Method) != their.Method || string(q.Target) != their.RequestURI {
		t.Fatalf("%s %s, net/http %s %s", q.Method, q.Target, their.Method, their.RequestURI)
	}
	if their.URL.Host == "" && string(q.Host) != their.Host {
		t.Fatalf("host %q, net/http %q", q.Host, their.Host)
	}
	if (q.Framing == Chunked) != (len(their.TransferEncoding) > 0) {
		t.Fatalf("framing %v, net/http %v", q.Framing, their.TransferEncoding)
	}
	if q.Framing == Length && q.Length != their.ContentLength {
		t.Fatalf("length %d, net/http %d", q.Length, their.ContentLength)
	}
	if q.KeepAlive && their.Close {
		t.Fatal("kept alive, net/http closes")
	}
}

func FuzzResponse(f *testing.F) {
	for _, wire := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 200\r\n\r\n", "HTTP/1.0 204 x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a\r\nhi\r\n0\r\nX: y\r\n\r\n", "HTTP/1.1 304 x\r\nContent-Length: 3\r\n\r\n",
	} {
		f.Add([]byte(wire), false)
		f.Add([]byte(wire), true)
	}
	f.Fuzz(func(t *testing.T, wire []byte, head bool) {
		method := "GET"
		if head {
			method = "HEAD"
		}
		p, body, _, err := readResponse(bytes.NewReader(wire), method)
		p1, body1, _, err1 := readResponse(iotest.OneByteReader(bytes.NewReader(wire)), method)
		if isMalformed(err) != isMalformed(err1) || err == nil && (p.Status != p1.Status || !bytes.Equal(body, body1)) {
			t.Fatalf("depends on how the bytes arrive: %v, %v", err, err1)
		}
		if err != nil {
			return
		}
		their, theirErr := http.ReadResponse(bufio.NewReader(bytes.NewReader(wire)), &http.Request{Method: method})
		if theirErr != nil {
			t.Fatalf("accepted, but net/http says %v", theirErr)
		}
		theirBody, theirErr := io.ReadAll(their.Body)
		if theirErr != nil || !bytes.Equal(body, theirBody) || p.Status != their.StatusCode {
			t.Fatalf("%d %q, net/http %d %q (%v)", p.Status, body, their.StatusCode, theirBody, theirErr)
		}
	})
}

var benchRequest = []byte("POST http://api.example.com/v1/messages HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: curl/8.5.0\r\n" +
	"Accept: */*\r\nContent-Type: application/json\r\nAuthorization: Bearer abcdefghijklmnopqrstuvwxyz\r\nContent-Length: 2\r\n\r\n{}")

type endless struct{ b []byte }

func (e endless) Read(p []byte) (int, error) { return copy(p, e.b), nil }

func BenchmarkRequest(b *testing.B) {
	r, q, body := NewReader(endless{benchRequest}), &Request{}, &Body{}
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Fill(); err != nil {
			b.Fatal(err)
		}
		if done, err := r.Request(q); !done || err != nil {
			b.Fatal(done, err)
		}
		body.Reset(r, &q.Head)
		if p, err := body.Next(); len(p) != 2 || err != nil {
			b.Fatal(err)
		}
	}
}
