package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"firma/internal/ids"
	"firma/internal/sidecar/allowance"
	"firma/internal/verdict"
)

type ask struct{ method, wire string }

// asks are what agents send at once; each is one question, with one answer.
var asks = [][]ask{
	{{"GET", get + "\r\n"}, {"HEAD", strings.Replace(get, "GET", "HEAD", 1) + "\r\n"}, {"POST", post + "Content-Length: 2\r\n\r\nhi"}, {"GET", get + "\r\n"}},
	{{"GET", strings.Replace(get, "1.1", "1.0", 1) + "Connection: keep-alive\r\n\r\n"}, {"GET", strings.Replace(get, "1.1", "1.0", 1) + "Connection: keep-alive\r\n\r\n"}, {"GET", get + "\r\n"}},
	{{"POST", post + "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"}, {"GET", get + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"}},
}

// answered is a final response as a client sees it.
type answered struct {
	status int
	body   string
	whole  bool
	last   bool // on its connection
}

// readAnswer is net/http's reading of the next final response to method; false
// where there is none.
func readAnswer(r *bufio.Reader, method string) (a answered, header http.Header, ok bool) {
	for {
		res, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return a, nil, false
		}
		if res.StatusCode < 200 && res.StatusCode != 101 {
			continue
		}
		b, err := io.ReadAll(res.Body)
		return answered{res.StatusCode, string(b), err == nil, res.Close || res.StatusCode == 101}, res.Header, true
	}
}

// FuzzAnswers: whatever an upstream answers, the agent reads one response for each
// request: the upstream's to that request, as an independent parser reads it, or
// firma's own. Nothing that follows a response is taken for the next one, whether
// or not the upstream keeps its connection.
func FuzzAnswers(f *testing.F) {
	for _, said := range []string{
		ok, ok + ok, "HTTP/1.1 204 x\r\n\r\n", "HTTP/1.1 304 x\r\nContent-Length: 3\r\n\r\n", "HTTP/1.0 200\r\n\r\nuntil the end",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\nX: y\r\nX-Firma-Event: z\r\n\r\n",
		"HTTP/1.1 103 x\r\nLink: y\r\n\r\nHTTP/1.1 100 x\r\n\r\n" + ok, "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n" + ok,
		"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x02hi\x88\x00HTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x02hi\x88",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX-Firma-Event: forged\r\nProxy-Authenticate: Basic\r\nConnection: x-a, close\r\nX-A: 1\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 407 x\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 poison\r\n\r\n", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "HTTP/2 200\r\n\r\n", "\r\n" + ok,
	} {
		for i := range asks {
			f.Add([]byte(said), true, byte(i))
			f.Add([]byte(said), false, byte(i))
		}
	}
	f.Fuzz(func(t *testing.T, said []byte, stays bool, kind byte) {
		asks := asks[int(kind)%len(asks)]
		if len(said) > 32<<10 {
			return // what no socket takes at once makes the upstream wait, not firma
		}
		var upstreams sync.WaitGroup
		event := ids.New(ids.Event) // which no upstream can know
		mine := allowance.New(1 << 20)
		s, err := New(Config{Enforcer: &enforcer{decide: deny(verdict.Decision{Outcome: verdict.Allow, EventID: event})}, Memory: mine, Dialer: dialFunc(func(context.Context, string, uint16) (net.Conn, error) {
			near, far := tcpPair(t)
			upstreams.Go(func() { answerAll(far, said, stays) })
			return near, nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		near, far := tcpPair(t)
		c := newConn(context.Background(), s, far, new(sync.WaitGroup))
		s.slots <- struct{}{}
		s.add(c)
		go s.run(c)
		near.SetDeadline(time.Now().Add(10 * time.Second))
		var cut error // told once, to whichever call comes next
		for _, a := range asks {
			_, err := io.WriteString(near, a.wire)
			cut = errors.Join(cut, err)
		}
		cut = errors.Join(cut, near.(*net.TCPConn).CloseWrite())
		heard, err := io.ReadAll(near)
		cut = errors.Join(cut, err)
		s.Drain(context.Background())
		if n := mine.Used(); n != 0 {
			t.Errorf("%d bytes are still held", n)
		}
		upstreams.Wait()
		checkAnswers(t, asks, said, heard, cut != nil, event)
	})
}

// answerAll says the same to every request, in one piece, and then leaves unless it
// stays for the next and nothing is missing, which would be waited for.
func answerAll(c net.Conn, said []byte, stays bool) {
	defer c.Close()
	for r := bufio.NewReader(c); ; {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		io.Copy(io.Discard, req.Body)
		a, _, ok := readAnswer(bufio.NewReader(bytes.NewReader(said)), req.Method)
		if _, err := c.Write(said); err != nil || !stays || !ok || !a.whole || a.last {
			return
		}
	}
}

// checkAnswers holds what was heard against what was said; cut says that the agent's
// connection was reset, which is the only way to tell some that an answer broke.
func checkAnswers(t *testing.T, asks []ask, said, heard []byte, cut bool, event string) {
	r := bufio.NewReader(bytes.NewReader(heard))
	for i, ask := range asks {
		got, h, ok := readAnswer(r, ask.method)
		if !ok {
			if rest := tail(r); len(rest) > 0 {
				t.Fatalf("%q to %q: the agent can't read %q", said, ask.method, rest)
			}
			if i == 0 {
				t.Fatalf("%q: no answer at all", said)
			}
			return // the connection ended, as it may
		}
		if got.last && cut {
			got.whole = false
		}
		if h.Get("X-Firma-Event") == event && got.whole {
			continue // firma's own
		}
		for name := range h {
			if strings.HasPrefix(name, "X-Firma-") || strings.HasPrefix(name, "Proxy-") {
				t.Fatalf("%q: %s passed", said, name)
			}
		}
		answer := bufio.NewReader(bytes.NewReader(said))
		want, _, ok := readAnswer(answer, ask.method)
		if ok && got.status == 101 && want.status == 101 && strings.Contains(ask.wire, "Upgrade") {
			if rest, all := withoutGoodbye(tail(r)), tail(answer); !bytes.HasPrefix(all, rest) { // as far as it is frames
				t.Fatalf("%q: heard %q in the socket", said, rest)
			}
			return
		}
		if !ok || want.status != got.status || !got.whole && i == len(asks)-1 && want.whole {
			t.Fatalf("%q to request %d (%s): heard %+v, said %+v %v\nall: %q", said, i, ask.method, got, want, ok, heard)
		}
		if got.whole && !(want.whole && got.body == want.body) || !got.whole && !strings.HasPrefix(want.body, got.body) {
			t.Fatalf("%q to request %d (%s): heard %+v, said %+v", said, i, ask.method, got, want)
		}
		if !got.whole {
			if rest := tail(r); len(rest) > 0 {
				t.Fatalf("%q: %q follows a response that broke", said, rest)
			}
			return
		}
	}
	if rest := tail(r); len(rest) > 0 {
		t.Fatalf("%q: %q follows the last response", said, rest)
	}
}

// withoutGoodbye removes the Close frame of 1011 by which firma ends a WebSocket whose
// server broke the protocol.
func withoutGoodbye(b []byte) []byte {
	const why = "\x03\xf3the server: "
	if i := bytes.LastIndex(b, []byte(why)); i >= 2 && b[i-2] == 0x88 && int(b[i-1]) == len(b)-i {
		return b[:i-2]
	}
	return b
}

func tail(r *bufio.Reader) []byte {
	rest, _ := io.ReadAll(r)
	return rest
}
