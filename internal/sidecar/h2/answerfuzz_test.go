package h2

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"firma/internal/sidecar/allowance"
	"firma/internal/sidecar/field"
)

// FuzzAnswers: whatever an HTTP/1.1 upstream answers, the client gets what net/http
// reads in it, or firma's own answer. That its fields are valid, x/net/http2 checks.
func FuzzAnswers(f *testing.F) {
	for _, said := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n\r\n2\r\nhi\r\n0\r\nX-T: 1\r\nX-Firma-Event: y\r\n\r\n", "HTTP/1.0 200\r\nA:\r\n\r\nuntil the end",
		"HTTP/1.1 103 x\r\nLink: y\r\n\r\nHTTP/1.1 204 x\r\n\r\n", "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", "HTTP/1.1 304 x\r\nContent-Length: 7\r\n\r\n",
		"HTTP/1.1 200 OK\r\nConnection: x-a, close\r\nX-A: 1\r\nKeep-Alive: 1\r\nX-Firma-Event: forged\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nX_\xe9: \xe9\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n\r\n", "HTTP/2 200\r\n\r\n",
	} {
		f.Add([]byte(said), false)
		f.Add([]byte(said), true)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}})
	if err != nil {
		f.Fatal(err)
	}
	var upstreams sync.WaitGroup
	f.Cleanup(func() { ln.Close(); upstreams.Wait() })
	f.Fuzz(func(t *testing.T, said []byte, bodyless bool) {
		if len(said) > 32<<10 {
			return // and the client's window is enough
		}
		method := "GET"
		if bodyless {
			method = "HEAD"
		}
		mine := allowance.New(1 << 20)
		s, err := New(Config{Enforcer: newEnforcer(), Memory: mine, Log: slog.New(slog.NewTextHandler(failOnLog{t}, nil)),
			DialTLS: func(ctx context.Context, name string, _ uint16, _ []string) (*tls.Conn, error) {
				upstreams.Go(func() {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					defer c.Close()
					if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
						c.Write(said)
					}
				})
				return dialTo(ln.Addr().String())(context.Background(), name, 0, nil)
			}})
		if err != nil {
			t.Fatal(err)
		}
		got := exchangeOne(t, s, pairs(":method: "+method+"\n:scheme: https\n:authority: "+host+"\n:path: /\n"), nil, nil)
		s.Drain(context.Background())
		if n := mine.Used(); n != 0 {
			t.Errorf("%d bytes are still held", n)
		}
		own := false
		for _, v := range got.fields {
			own = own || v.Name == "x-firma-event" && v.Value == "aevt_1"
		}
		if own {
			return
		}
		for _, v := range got.fields {
			if field.Ours(v.Name) || strings.HasPrefix(v.Name, "proxy-") {
				t.Fatalf("%q: %s passed", said, v.Name)
			}
		}
		checkHeard(t, said, method, got)
	})
}

// FuzzAnswersInFrames is FuzzAnswers for an HTTP/2 upstream: whatever frames it sends,
// the client can read what it gets, and gets a status that was sent.
func FuzzAnswersInFrames(f *testing.F) {
	seed := func(write func(fr *http2.Framer, block func(...string) []byte)) {
		var out bytes.Buffer
		write(http2.NewFramer(&out, nil), func(fields ...string) []byte {
			var all []hpack.HeaderField
			for i := 0; i < len(fields); i += 2 {
				all = append(all, hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
			}
			return encode(all)
		})
		f.Add(out.Bytes(), false)
		f.Add(out.Bytes(), true)
	}
	for _, fields := range [][]string{
		{":status", "200", "content-length", "2", "a", "b", "set-cookie", "c", "set-cookie", "d"}, {":status", "204"}, {":status", "101", "upgrade", "websocket"}, {":status", "200", "connection", "a", "x-firma-event", "forged", "proxy-a", "b", "X-Up", "c"},
		{":status", "200", "a", "b\r\nc: d"}, {"a", "b", ":status", "200"}, {":status", "20"}, {":status", "-1"}, {":status", "1000"}, {":status", "+0200"}, {":status", "200", "trailer", "x-t"},
	} {
		seed(func(fr *http2.Framer, block func(...string) []byte) {
			fr.WriteSettings()
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(":status", "103", "link", "x"), EndHeaders: true})
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(fields...), EndHeaders: true})
			fr.WriteDataPadded(1, false, []byte("hi"), make([]byte, 3))
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block("x-t", "1", "x-firma-event", "y"), EndHeaders: true, EndStream: true})
		})
	}
	seed(func(fr *http2.Framer, block func(...string) []byte) {
		fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		fr.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: block(getFields...), EndHeaders: true})
		fr.WriteRSTStream(1, http2.ErrCodeRefusedStream)
		fr.WriteGoAway(0, http2.ErrCodeNo, []byte("x"))
	})
	f.Add([]byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\a\x10\x04\x00\x00\x00\x01N\x82\b\x19m\x01x\x00\x00\x06\x01'\x80\x00\x00\x01@\x01a\x01b\x88"), false)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}})
	if err != nil {
		f.Fatal(err)
	}
	var upstreams sync.WaitGroup
	f.Cleanup(func() { ln.Close(); upstreams.Wait() })
	f.Fuzz(func(t *testing.T, said []byte, bodyless bool) {
		if len(said) > 32<<10 {
			return
		}
		method := "GET"
		if bodyless {
			method = "HEAD"
		}
		mine := allowance.New(1 << 20)
		s, err := New(Config{Enforcer: newEnforcer(), Memory: mine, Log: slog.New(slog.NewTextHandler(failOnLog{t}, nil)),
			DialTLS: func(_ context.Context, name string, _ uint16, protos []string) (*tls.Conn, error) {
				upstreams.Go(func() {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					defer c.Close()
					c.SetDeadline(time.Now().Add(10 * time.Second))
					c.Write(said)
					c.(*tls.Conn).CloseWrite()
					io.Copy(io.Discard, c)
				})
				return dialTo(ln.Addr().String())(context.Background(), name, 0, protos)
			}})
		if err != nil {
			t.Fatal(err)
		}
		got := exchangeOne(t, s, pairs(":method: "+method+"\n:scheme: https\n:authority: "+host+"\n:path: /\n"), nil, nil)
		s.Drain(context.Background())
		if n := mine.Used(); n != 0 {
			t.Errorf("%d bytes are still held", n)
		}
		own := false
		for _, v := range got.fields {
			own = own || v.Name == "x-firma-event" && v.Value == "aevt_1"
		}
		for _, v := range got.fields {
			if !own && (field.Ours(v.Name) || strings.HasPrefix(v.Name, "proxy-")) {
				t.Fatalf("%q: %s passed", said, v.Name)
			}
		}
		if !own && got.status != "" && !slices.Contains(statuses(said), got.status) {
			t.Fatalf("%q: heard %q", said, got.status)
		}
	})
}

// statuses are those in frames, as x/net/http2 and net/http read them.
func statuses(said []byte) (all []string) {
	fr := http2.NewFramer(nil, bytes.NewReader(withoutPriorities(said)))
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		f, err := fr.ReadFrame()
		if _, stream := err.(http2.StreamError); err != nil && !stream {
			return all
		}
		if h, ok := f.(*http2.MetaHeadersFrame); ok {
			if n, err := strconv.Atoi(h.PseudoValue("status")); err == nil && 200 <= n && n <= 999 {
				all = append(all, strconv.Itoa(n))
			}
		}
	}
}

// withoutPriorities leaves out PRIORITY_UPDATE frames (RFC 9218), about which the two
// readers differ: to one of them they are unknown, and pass for nothing.
func withoutPriorities(said []byte) (rest []byte) {
	const head, update = 9, 0x10
	for len(said) >= head {
		n := min(head+(int(said[0])<<16|int(said[1])<<8|int(said[2])), len(said))
		if said[3] != update {
			rest = append(rest, said[:n]...)
		}
		said = said[n:]
	}
	return append(rest, said...)
}

func checkHeard(t *testing.T, said []byte, method string, got heard) {
	r := bufio.NewReader(strings.NewReader(string(said)))
	for {
		res, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			if got.status != "" {
				t.Fatalf("%q: heard %+v, net/http %v", said, got, err)
			}
			return
		}
		if res.StatusCode < 200 {
			continue
		}
		body, err := io.ReadAll(res.Body)
		switch {
		case got.status != strconv.Itoa(res.StatusCode):
			t.Fatalf("%q: heard %q, net/http %d", said, got.status, res.StatusCode)
		case got.whole && (err != nil || string(got.body) != string(body)):
			t.Fatalf("%q: heard %q, net/http %q, %v", said, got.body, body, err)
		case !strings.HasPrefix(string(body), string(got.body)):
			t.Fatalf("%q: heard %q, net/http %q", said, got.body, body)
		}
		return
	}
}
