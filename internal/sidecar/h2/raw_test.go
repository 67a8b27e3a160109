package h2

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"firma/internal/intent"
	"firma/internal/verdict"
)

// raw is a client that sends whatever frames it is told to.
type raw struct {
	*http2.Framer
	t   testing.TB
	nc  *tls.Conn
	enc *hpack.Encoder
	buf bytes.Buffer
}

func dialRaw(t testing.TB, addr string, settings ...http2.Setting) *raw {
	t.Helper()
	nc, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, ServerName: host, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(20 * time.Second)) // a hang is a failure, not a wait
	io.WriteString(nc, http2.ClientPreface)
	r := &raw{Framer: http2.NewFramer(nc, nc), t: t, nc: nc}
	r.Framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	r.Framer.AllowIllegalWrites = true
	r.enc = hpack.NewEncoder(&r.buf)
	if err := r.WriteSettings(settings...); err != nil {
		t.Fatal(err)
	}
	return r
}

// block encodes "name: value" pairs.
func (r *raw) block(fields ...string) []byte {
	r.buf.Reset()
	for i := 0; i < len(fields); i += 2 {
		r.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(r.buf.Bytes())
}

var getFields = []string{":method", "GET", ":scheme", "https", ":authority", host, ":path", "/x"}
var postFields = []string{":method", "POST", ":scheme", "https", ":authority", host, ":path", "/x"}

func (r *raw) open(id uint32, end bool, fields ...string) error {
	return r.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: r.block(fields...), EndStream: end, EndHeaders: true})
}

// outcome reads until the stream or the connection ends: "200", "200 body",
// "RST code" or "GOAWAY code", or the last two after a status.
func (r *raw) outcome(id uint32) string {
	r.t.Helper()
	var got []string
	for {
		f, err := r.ReadFrame()
		if err != nil {
			return strings.Join(append(got, "closed"), " ")
		}
		ended := false
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			return strings.Join(append(got, "GOAWAY", f.ErrCode.String()), " ")
		case *http2.RSTStreamFrame:
			if f.StreamID == id {
				return strings.Join(append(got, "RST", f.ErrCode.String()), " ")
			}
		case *http2.MetaHeadersFrame:
			if f.StreamID == id {
				if status := f.PseudoValue("status"); status != "" {
					got = append(got, status)
				}
				ended = f.StreamEnded()
			}
		case *http2.DataFrame:
			if f.StreamID == id {
				ended = f.StreamEnded()
			}
		}
		if ended {
			return strings.Join(got, " ")
		}
	}
}

func noUpstream(t *testing.T) func(context.Context, string, uint16, []string) (*tls.Conn, error) {
	return func(context.Context, string, uint16, []string) (*tls.Conn, error) {
		t.Error("a connection was made for a request that is none")
		return nil, errors.New("no")
	}
}

func TestMalformedRequests(t *testing.T) {
	with := func(fields ...string) []string { return append(append([]string{}, getFields...), fields...) }
	for _, tt := range []struct {
		name   string
		fields []string
		want   string // outcome
		why    string // audited
	}{
		{"upper case name", with("X-A", "1"), "RST PROTOCOL_ERROR", "lower-case token"},
		{"name with a space", with("x a", "1"), "RST PROTOCOL_ERROR", "lower-case token"},
		{"name with a colon", with("x:a", "1"), "RST PROTOCOL_ERROR", "lower-case token"},
		{"empty name", with("", "1"), "RST PROTOCOL_ERROR", "lower-case token"},
		{"name with CRLF", with("x\r\nhost", "evil.test"), "RST PROTOCOL_ERROR", "lower-case token"},
		{"name that is not ASCII", with("x\xc3\xa9", "1"), "RST PROTOCOL_ERROR", "lower-case token"},
		{"value with CRLF", with("x", "1\r\nhost: evil.test"), "RST PROTOCOL_ERROR", "control character"},
		{"value with LF", with("x", "1\nx: y"), "RST PROTOCOL_ERROR", "control character"},
		{"value with NUL", with("x", "1\x00"), "RST PROTOCOL_ERROR", "control character"},
		{"value with space around it", with("x", " 1"), "RST PROTOCOL_ERROR", "space around"},
		{"connection", with("connection", "close"), "RST PROTOCOL_ERROR", "describes a connection"},
		{"proxy-connection", with("proxy-connection", "close"), "RST PROTOCOL_ERROR", "describes a connection"},
		{"keep-alive", with("keep-alive", "1"), "RST PROTOCOL_ERROR", "describes a connection"},
		{"upgrade", with("upgrade", "h2c"), "RST PROTOCOL_ERROR", "describes a connection"},
		{"transfer-encoding", with("transfer-encoding", "chunked"), "RST PROTOCOL_ERROR", "describes a connection"},
		{"transfer_encoding", with("transfer_encoding", "chunked"), "RST PROTOCOL_ERROR", "describes a connection"},
		{"te", with("te", "trailers, gzip"), "RST PROTOCOL_ERROR", "TE"},
		{"expect", with("expect", "something"), "RST PROTOCOL_ERROR", "Expect"},
		{"two lengths", with("content-length", "0", "content-length", "0"), "RST PROTOCOL_ERROR", "one plain number"},
		{"length list", with("content-length", "0, 0"), "RST PROTOCOL_ERROR", "one plain number"},
		{"length with sign", with("content-length", "+1"), "RST PROTOCOL_ERROR", "one plain number"},
		{"content_length", with("content_length", "5"), "RST PROTOCOL_ERROR", "one plain number"},
		{"length without body", with("content-length", "5"), "RST PROTOCOL_ERROR", "does not come"},
		{"two hosts", with("host", host, "host", host), "RST PROTOCOL_ERROR", "more than one Host"},
		{"two paths", with(":path", "/y"), "RST PROTOCOL_ERROR", "pseudo-header"},
		{"pseudo after field", append([]string{"x", "1"}, getFields...), "RST PROTOCOL_ERROR", "pseudo-header"},
		{"unknown pseudo", append([]string{":x", "1"}, getFields...), "RST PROTOCOL_ERROR", "pseudo-header"},
		{"response pseudo", append([]string{":status", "200"}, getFields...), "RST PROTOCOL_ERROR", "pseudo-header"},
		{"no path", getFields[:6], "RST PROTOCOL_ERROR", "missing"},
		{"no method", getFields[2:], "RST PROTOCOL_ERROR", "missing"},
		{"empty path", []string{":method", "GET", ":scheme", "https", ":authority", host, ":path", ""}, "RST PROTOCOL_ERROR", "no valid value"},
		{"http scheme", []string{":method", "GET", ":scheme", "http", ":authority", host, ":path", "/"}, "RST PROTOCOL_ERROR", "https"},
		{"connect", []string{":method", "CONNECT", ":authority", host + ":443"}, "RST PROTOCOL_ERROR", "CONNECT"},

		{"another authority", []string{":method", "GET", ":scheme", "https", ":authority", "evil.test", ":path", "/"}, "403", "another host"},
		{"another port", []string{":method", "GET", ":scheme", "https", ":authority", host + ":8443", ":path", "/"}, "403", "another host"},
		{"user information", []string{":method", "GET", ":scheme", "https", ":authority", "me@" + host, ":path", "/"}, "403", "user information"},
		{"another host", with("host", "evil.test"), "403", "different hosts"},
		{"another host only", []string{":method", "GET", ":scheme", "https", ":path", "/", "host", "evil.test"}, "403", "another host"},
		{"neither", []string{":method", "GET", ":scheme", "https", ":path", "/"}, "403", "neither"},
		{"absolute path", []string{":method", "GET", ":scheme", "https", ":authority", host, ":path", "https://evil.test/"}, "403", "slash"},
		{"path with a space", []string{":method", "GET", ":scheme", "https", ":authority", host, ":path", "/a HTTP/1.1"}, "403", "space"},
		{"star", []string{":method", "OPTIONS", ":scheme", "https", ":authority", host, ":path", "*"}, "403", "slash"},
		{"path above the root", []string{":method", "GET", ":scheme", "https", ":authority", host, ":path", "/../x"}, "403", "root"},
		{"method in lower case", []string{":method", "get", ":scheme", "https", ":authority", host, ":path", "/"}, "403", "upper case"},
		{"method with a space", []string{":method", "GET /x", ":scheme", "https", ":authority", host, ":path", "/"}, "403", "token"},
		{"two overrides", with("x-http-method-override", "PUT", "x-method-override", "DELETE"), "403", "disagree"},
		{"another protocol", []string{":method", "CONNECT", ":protocol", "connect-udp", ":scheme", "https", ":authority", host, ":path", "/"}, "403", "another protocol"},
		{"too many fields", with(strings.Split(strings.Repeat("x,1,", 250), ",")[:500]...), "403", "more than 200"},
		{"too long", with("x", strings.Repeat("v", 60<<10), "y", strings.Repeat("v", 6<<10)), "403", "longer than 64 KiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEnforcer()
			_, addr := start(t, Config{Enforcer: e, DialTLS: noUpstream(t)})
			r := dialRaw(t, addr)
			b := r.block(tt.fields...)
			if err := r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:min(len(b), maxFrame)], EndStream: true, EndHeaders: len(b) <= maxFrame}); err != nil {
				t.Fatal(err)
			}
			for len(b) > maxFrame {
				b = b[maxFrame:]
				r.WriteContinuation(1, len(b) <= maxFrame, b[:min(len(b), maxFrame)])
			}
			if got := r.outcome(1); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if log := e.take(); len(log) != 1 || !strings.HasPrefix(log[0], "malformed https: ") || !strings.Contains(log[0], tt.why) {
				t.Errorf("audited %q, want %q", log, tt.why)
			}
			// The connection goes on.
			e.decide = func(*intent.Call) verdict.Decision { return verdict.Decision{Outcome: verdict.Deny} }
			if r.open(3, true, getFields...); r.outcome(3) != "403" {
				t.Error("the connection does not go on")
			}
		})
	}
}

// TestBodyOtherThanAnnounced: the upstream's request ends in an error, too.
func TestBodyOtherThanAnnounced(t *testing.T) {
	both(t, func(t *testing.T, protos ...string) {
		saw := make(chan error, 10)
		up := origin(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, err := io.ReadAll(r.Body)
			saw <- err
		}), protos...)
		for _, body := range []string{"123", "1234567"} {
			e := newEnforcer()
			_, addr := start(t, Config{Enforcer: e, DialTLS: dialTo(up)})
			r := dialRaw(t, addr)
			r.open(1, false, append(append([]string{}, postFields...), "content-length", "5")...)
			r.WriteData(1, false, []byte(body[:2]))
			r.WriteData(1, true, []byte(body[2:]))
			if got := r.outcome(1); got != "RST PROTOCOL_ERROR" {
				t.Error(got)
			}
			if d := receive(t, e.ended); d.Abort != verdict.ConnectorInvalidRequest {
				t.Errorf("%+v", d)
			}
			select { // it may not have come to the handler
			case err := <-saw:
				if err == nil {
					t.Error("the upstream took the request for whole")
				}
			default:
			}
		}
	})
}

// TestCrumbsAndOverridesForH1: what HTTP/2 may split is one field in HTTP/1.1.
func TestCookieCrumbs(t *testing.T) {
	both(t, func(t *testing.T, protos ...string) {
		up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Cookie", strings.Join(r.Header["Cookie"], "|"))
		}), protos...)
		_, addr := start(t, Config{DialTLS: dialTo(up)})
		r := dialRaw(t, addr)
		r.open(1, true, append(append([]string{}, getFields...), "cookie", "a=1", "cookie", "b=2")...)
		for {
			f, err := r.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			h, ok := f.(*http2.MetaHeadersFrame)
			if !ok {
				continue
			}
			for _, f := range h.Fields {
				if f.Name == "x-cookie" && f.Value != "a=1; b=2" {
					t.Error(f)
				}
			}
			if !h.StreamEnded() {
				t.Error("a head without a body does not end its stream")
			}
			return
		}
	})
}

func TestPanicEndsOneStream(t *testing.T) {
	logged := make(logLines, 10)
	e := newEnforcer()
	e.decide = func(c *intent.Call) verdict.Decision {
		if c.Path == "/panic" {
			panic("test")
		}
		return verdict.Decision{Outcome: verdict.Deny}
	}
	_, addr := start(t, Config{Enforcer: e, Log: logged.logger()})
	r := dialRaw(t, addr)
	r.open(1, true, ":method", "GET", ":scheme", "https", ":authority", host, ":path", "/panic")
	if got := r.outcome(1); got != "RST INTERNAL_ERROR" {
		t.Error(got)
	}
	receive(t, logged)
	r.open(3, true, getFields...)
	if got := r.outcome(3); got != "403" {
		t.Error(got)
	}
}

func TestDrainSendsGoAway(t *testing.T) {
	e := newEnforcer()
	e.decide = func(*intent.Call) verdict.Decision { return verdict.Decision{Outcome: verdict.Deny} }
	s, addr := start(t, Config{Enforcer: e})
	r := dialRaw(t, addr)
	r.open(1, true, getFields...)
	if got := r.outcome(1); got != "403" {
		t.Error(got)
	}
	if err := s.Drain(context.Background()); err != nil {
		t.Error(err)
	}
	for {
		f, err := r.ReadFrame()
		if err != nil {
			t.Fatal("no GOAWAY:", err)
		}
		if g, ok := f.(*http2.GoAwayFrame); ok {
			if g.ErrCode != http2.ErrCodeNo || g.LastStreamID != 1 {
				t.Error(g)
			}
			return
		}
	}
}

func TestDialRefusal(t *testing.T) {
	e := newEnforcer()
	_, addr := start(t, Config{Enforcer: e, DialTLS: func(context.Context, string, uint16, []string) (*tls.Conn, error) {
		return nil, forbidden{errors.New("loopback")}
	}})
	resp, body := get(t, client(t, addr), "/x")
	if resp.StatusCode != 403 || !strings.Contains(body, `"reason":"DestinationForbidden"`) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if log := e.take(); len(log) != 2 || log[1] != "refuse "+host+" after ALLOW: DestinationForbidden" {
		t.Errorf("%q", log)
	}
	select {
	case d := <-e.ended:
		t.Errorf("dispatched: %+v", d)
	default:
	}
}

type forbidden struct{ error }

func (forbidden) Refusal() (verdict.Reason, string) {
	return verdict.DestinationForbidden, "it is a loopback address"
}

func TestAdoptedConnectionIsUsed(t *testing.T) {
	both(t, func(t *testing.T, protos ...string) {
		up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }), protos...)
		s, addr := start(t, Config{DialTLS: noUpstream(t)})
		c, err := dialTo(up)(t.Context(), host, port, []string{"h2", "http/1.1"})
		if err != nil {
			t.Fatal(err)
		}
		s.Adopt(host, port, c)
		if _, body := get(t, client(t, addr), "/x"); body != "ok" {
			t.Error(body)
		}
		// One that nobody used is closed with the server.
		c, err = dialTo(up)(t.Context(), host, port, []string{"h2", "http/1.1"})
		if err != nil {
			t.Fatal(err)
		}
		s.Adopt(host, port, c)
		s.Drain(context.Background())
		if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}
