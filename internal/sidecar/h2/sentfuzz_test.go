package h2

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"firma/internal/intent"
	"firma/internal/sidecar/allowance"
	"firma/internal/sidecar/field"
	"firma/internal/verdict"
)

// pairs are the "name: value" lines of text; a name may begin with a colon.
func pairs(text string) (fields []hpack.HeaderField) {
	for line := range strings.SplitSeq(text, "\n") {
		if i := strings.Index(line[min(1, len(line)):], ": "); i >= 0 {
			fields = append(fields, hpack.HeaderField{Name: line[:i+1], Value: line[i+3:]})
		}
	}
	return fields
}

func encode(fields []hpack.HeaderField) []byte {
	var buf bytes.Buffer
	enc := hpack.NewEncoder(&buf)
	for _, f := range fields {
		enc.WriteField(f)
	}
	return buf.Bytes()
}

// heard is what a client gets for its request. body is as much as came.
type heard struct {
	status string
	fields []hpack.HeaderField
	body   []byte
	whole  bool
}

// exchangeOne has s serve one connection with one request on it.
func exchangeOne(t *testing.T, s *Server, fields []hpack.HeaderField, body []byte, trailer []hpack.HeaderField) (h heard) {
	near, far := net.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.ServeConn(t.Context(), near, host, port)
	}()
	defer func() { <-served }()
	defer far.Close()
	far.SetDeadline(time.Now().Add(10 * time.Second))
	fr := http2.NewFramer(far, far)
	fr.AllowIllegalWrites = true
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	go func() {
		io.WriteString(far, http2.ClientPreface)
		fr.WriteSettings()
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: encode(fields), EndStream: body == nil && trailer == nil, EndHeaders: true})
		if body != nil {
			fr.WriteData(1, trailer == nil, body)
		}
		if trailer != nil {
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: encode(trailer), EndStream: true, EndHeaders: true})
		}
	}()
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			if _, bad := err.(http2.StreamError); bad {
				t.Fatalf("the client can't read the answer: %v", fr.ErrorDetail())
			}
			return h
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if status := f.PseudoValue("status"); status != "" {
				h.status, h.fields = status, f.RegularFields()
			}
			h.whole = f.StreamEnded()
		case *http2.DataFrame:
			h.body = append(h.body, f.Data()...)
			h.whole = f.StreamEnded()
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return h
		}
		if h.whole {
			return h
		}
	}
}

// sight is a request as an independent parser upstream sees it.
type sight struct {
	line, body string
	header     http.Header
}

// onlooker is an upstream that answers each request with its body. It reads HTTP/1.1
// with http.ReadRequest, HTTP/2 with net/http's server.
type onlooker struct {
	h1, h2 string
	mu     sync.Mutex
	seen   []sight
	open   int // connections of h1: net/http may dial after a request is over
	closed sync.Cond
}

func newOnlooker(f *testing.F) *onlooker {
	o := &onlooker{}
	o.closed.L = &o.mu
	o.h2 = origin(f, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(o.note(r)) }), "h2")
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"}})
	if err != nil {
		f.Fatal(err)
	}
	o.h1 = ln.Addr().String()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go o.serve(c)
		}
	}()
	f.Cleanup(func() { ln.Close(); <-done })
	return o
}

// dial connects to h1. What has been accepted ends open by itself, so connecting is
// not given up half-way.
func (o *onlooker) dial(ctx context.Context, name string, protos []string) (*tls.Conn, error) {
	o.count(1)
	nc, err := net.Dial("tcp", o.h1)
	if err != nil {
		o.count(-1)
		return nil, err
	}
	c := tls.Client(nc, &tls.Config{RootCAs: roots, ServerName: name, NextProtos: protos})
	if err := c.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

func (o *onlooker) count(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open += n
	o.closed.Broadcast()
}

func (o *onlooker) serve(c net.Conn) {
	defer o.count(-1)
	defer c.Close()
	for r := bufio.NewReader(c); ; {
		req, err := http.ReadRequest(r)
		if err != nil {
			var left *net.OpError
			if err != io.EOF && err != io.ErrUnexpectedEOF && !errors.As(err, &left) {
				o.add(sight{line: "garbage: " + err.Error()})
			}
			return
		}
		if req.Header.Get("Expect") != "" {
			io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		body := o.note(req)
		if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
			return
		}
	}
}

func (o *onlooker) note(r *http.Request) []byte {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		o.add(sight{fmt.Sprintf("%s %s %s", r.Method, r.Host, r.RequestURI), string(body), r.Header})
	}
	return body
}

func (o *onlooker) add(s sight) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = append(o.seen, s)
}

// take returns what was seen, when all connections are gone.
func (o *onlooker) take() []sight {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.open > 0 {
		o.closed.Wait()
	}
	seen := o.seen
	o.seen = nil
	return seen
}

// FuzzJudgedIsSent: whatever fields, body and trailers a client sends, an independent
// parser upstream, of either version, sees one request in the form that was allowed,
// with that body and no field of firma's, or none; and the client gets its answer.
func FuzzJudgedIsSent(f *testing.F) {
	lines := func(fields ...string) (text string) {
		for i := 0; i < len(fields); i += 2 {
			text += fields[i] + ": " + fields[i+1] + "\n"
		}
		return text
	}
	with := func(fields ...string) string { return lines(append(slices.Clone(postFields), fields...)...) }
	for _, tt := range []struct{ fields, body, trailer string }{
		{lines(getFields...), "", ""}, {with("content-length", "2", "a", "b"), "hi", ""}, {with("trailer", "x-t, content-length"), "hi", "x-t: 1\ncontent-length: 9\n"},
		{with("host", host, "cookie", "a", "cookie", "b", "x-firma-user", "x", "x-original-url", "/y"), "", ""}, {with("x-http-method-override", "delete"), "hi", ""},
		{with("te", "trailers", "expect", "100-continue"), "hi", ""}, {with("a", "b\r\nhost: evil.test"), "", ""}, {with("content-length", "5"), "hi", ""},
		{lines(":method", "GET", ":scheme", "https", ":authority", host, ":path", "/a/%2e%2e//b%2fc?x=%41#f"), "", ""}, {lines(":method", "GET", ":scheme", "https", ":authority", "API.example.com.:443", ":path", "/\u00e9?\u00e9 b"), "", ""},
		{lines(":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", host, ":path", "/ws", "sec-websocket-version", "13"), "", ""},
		{with("idempotency-key", "x", "connection", "a"), "hi", ""}, {lines(":method", "POST", ":scheme", "https", ":authority", host, ":path", "/o/r.git/git-receive-pack"), "0000", ""},
	} {
		f.Add(tt.fields, []byte(tt.body), tt.trailer, false)
		f.Add(tt.fields, []byte(tt.body), tt.trailer, true)
	}
	o := newOnlooker(f)
	f.Fuzz(func(t *testing.T, fields string, body []byte, trailer string, second bool) {
		if len(fields)+len(trailer) > 8<<10 || len(body) > 8<<10 {
			return // a frame and a window are enough
		}
		if len(body) == 0 {
			body = nil
		}
		var allowed []string
		e := newEnforcer()
		e.decide = func(c *intent.Call) verdict.Decision {
			allowed = append(allowed, fmt.Sprintf("%s %s %s", c.Method, c.HostPort(), c.Target()))
			return verdict.Decision{Outcome: verdict.Allow, RedactHeaders: []string{"x-secret"}}
		}
		dial := func(ctx context.Context, name string, _ uint16, protos []string) (*tls.Conn, error) {
			if second && protos[0] == "h2" {
				return dialTo(o.h2)(ctx, name, 0, protos)
			}
			return o.dial(ctx, name, protos)
		}
		mine := allowance.New(1 << 20)
		s, err := New(Config{Enforcer: e, DialTLS: dial, Memory: mine, Log: slog.New(slog.NewTextHandler(failOnLog{t}, nil))})
		if err != nil {
			t.Fatal(err)
		}
		got := exchangeOne(t, s, pairs(fields), body, pairs(trailer))
		s.Drain(context.Background())
		if n := mine.Used(); n != 0 {
			t.Errorf("%d bytes are still held", n)
		}
		seen := o.take()
		if len(seen) > len(allowed) || len(seen) > 1 {
			t.Fatalf("upstream saw %+v, allowed was %q", seen, allowed)
		}
		for _, req := range seen {
			if req.line != allowed[0] || !strings.Contains(req.line, " "+host+" /") {
				t.Fatalf("upstream saw %q, allowed was %q", req.line, allowed)
			}
			for name := range req.header {
				if field.Ours(name) || field.Redacted(name, []string{"x-secret"}) || strings.HasPrefix(name, "Proxy-") {
					t.Fatalf("%s was passed on", name)
				}
				if v := req.header[name][0]; field.Override(name) && !intent.KnownMethod(v) {
					t.Fatalf("%s: %s was passed on", name, v)
				}
			}
			if req.header.Get("Upgrade") != "" {
				body = nil // was not switched to
			}
			if req.body != string(body) {
				t.Fatalf("upstream got %q of %q", req.body, body)
			}
			if got.status == "200" && got.whole && string(got.body) != req.body && !strings.HasPrefix(req.line, "HEAD ") {
				t.Fatalf("the client got %q for %q", got.body, req.body)
			}
		}
	})
}
