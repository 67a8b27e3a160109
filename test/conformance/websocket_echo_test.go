package conformance

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
	gorilla "github.com/gorilla/websocket"

	"firma/internal/verdict"
)

// echoCases are those that an echo can be asked: class 6 sequence by sequence.
func echoCases() (all []wsCase) {
	for _, c := range wsCases() {
		if c.class() != "6" && !c.deflate && c.id != "7.1.6" { // of that the outcome is open
			all = append(all, c)
		}
	}
	for kind, list := range [][]string{validText, invalidText} {
		for i, s := range list {
			for n, f := range cuts(s) {
				if n != 1 { // whole, and byte by byte
					all = append(all, passes(fmt.Sprintf("6.%d.%d.%d", kind+1, i+1, n+1), f...))
				}
			}
		}
	}
	return all
}

// TestWebSocketServers: what servers that others wrote answer to a case through
// firma is what RFC 6455 requires, or, of those that do not judge texts, what they
// answer without firma.
func TestWebSocketServers(t *testing.T) {
	cases := echoCases()
	peers := servers(t)
	plain := make([][]outcome, len(peers)) // without firma
	for i, p := range peers {
		for _, c := range cases {
			if c.code > 0 || !p.asked(&c) { // some take what is wrong, and wait for more
				plain[i] = append(plain[i], outcome{})
				continue
			}
			s, err := direct(p.addr, "")
			if err != nil {
				t.Fatal(p.name, err)
			}
			plain[i] = append(plain[i], put(s, &c, true))
		}
	}
	t.Logf("%d cases, %d servers", len(cases), len(peers))
	t.Run("by", func(t *testing.T) {
		for _, w := range ways[:3] {
			t.Run(w.name, func(t *testing.T) {
				t.Parallel()
				for i, p := range peers {
					far := dialer{p.addr, roots}
					if w.tls {
						far = inTLS(t, p.addr)
					}
					x := newWorld(t, w, far)
					for n, c := range cases {
						if p.asked(&c) {
							x.askServer(t, p, &c, &plain[i][n])
						}
					}
				}
			})
		}
	})
}

func (x *world) askServer(t *testing.T, p peer, c *wsCase, without *outcome) {
	t.Helper()
	_, s, err := x.open("/", nil)
	if err != nil || s == nil {
		t.Fatal(p.name, c.id, err)
	}
	got, want := put(s, c, true), c.required()
	x.compare(t, p, c, &got, &want, without)
}

// compare judges an outcome, and what was recorded.
func (x *world) compare(t *testing.T, p peer, c *wsCase, got, want, without *outcome) {
	t.Helper()
	d := within(t, x.ended)
	if !p.strict && without != nil && c.code == 0 {
		want = without
	}
	if m := c.cut(); p.cuts && m != nil && len(got.messages) == len(want.messages)+1 && got.messages[len(want.messages)] == *m {
		got.messages = got.messages[:len(want.messages)] // it may still come, or not
	}
	failed := want.code != 0 && want.code != c.required().code || want.code == 1002 || want.code == 1007
	if !got.same(want, failed) {
		t.Errorf("%s, %s, %s: %s; want %s", p.name, c.id, x.name, got, want)
	}
	if c.code > 0 && d.Abort != verdict.ConnectorFailure || c.code == 0 && c.pass == len(c.frames) && d.Abort != verdict.None {
		t.Errorf("%s, %s, %s: recorded as %+v", p.name, c.id, x.name, d)
	}
}

// TestWebSocketClients: the same of clients that others wrote, to whom the case is
// sent by a server.
func TestWebSocketClients(t *testing.T) {
	var cases []wsCase
	for _, c := range wsCases() {
		// Some clients know no codes that were registered later.
		if c.class() != "6" && !c.deflate && c.id != "7.1.6" && !strings.Contains(c.id, "registered") {
			cases = append(cases, c)
		}
	}
	t.Logf("%d cases", len(cases))
	for _, w := range ways[:3] {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t, w)
			x := newWorld(t, w, o.dialer)
			for _, p := range x.clients(t) {
				for _, c := range cases {
					gone := make(chan struct{})
					go func() {
						defer close(gone)
						p.connect()
					}()
					got, want := put(within(t, o.opened), &c, false), c.required()
					within(t, gone)
					x.compare(t, p.peer, &c, &got, &want, &want)
				}
			}
		})
	}
}

// client is a peer that connects once, through firma, and echoes.
type client struct {
	peer
	connect func()
}

// clients are the client libraries that can be told to go the way of x.
func (x *world) clients(t *testing.T) []client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return x.agent(ctx) }
	viaHTTP := client{peer{name: "coder/websocket", cuts: true}, func() {
		tr := http.RoundTripper(&http.Transport{DialContext: dial})
		if x.h2 {
			tr = extending{x}
		}
		c, _, err := coder.Dial(t.Context(), "ws://"+name+"/", &coder.DialOptions{HTTPClient: &http.Client{Transport: tr}})
		if err != nil {
			t.Error(err)
			return
		}
		echoCoder(t.Context(), c)
	}}
	if x.h2 {
		return []client{viaHTTP}
	}
	port := x.front(t)
	js, py := external(t, node, "testdata/ws_echo.js", "client"), external(t, python, "testdata/ws_echo.py", "client")
	return []client{
		viaHTTP,
		{peer{name: "gorilla/websocket"}, func() {
			d := gorilla.Dialer{NetDialContext: dial}
			c, _, err := d.Dial("ws://"+name+"/", nil)
			if err != nil {
				t.Error(err)
				return
			}
			echoGorilla(c)
		}},
		{peer{name: "gobwas/ws"}, func() {
			d := ws.Dialer{NetDial: dial}
			c, r, _, err := d.Dial(t.Context(), "ws://"+name+"/")
			if err != nil {
				t.Error(err)
				return
			}
			if r != nil {
				c = &ahead{c, io.MultiReader(r, c)}
			}
			echoGobwas(c, ws.StateClientSide)
		}},
		{peer{name: "python websockets", strict: true}, func() { py.do(t, task{Port: port}) }},
		{peer{name: "node ws", strict: true}, func() { js.do(t, task{Port: port}) }},
	}
}

type ahead struct {
	net.Conn
	r io.Reader
}

func (a *ahead) Read(p []byte) (int, error) { return a.r.Read(p) }

// extending makes an extended CONNECT of an upgrade, and an upgrade's answer of its
// answer.
type extending struct{ x *world }

func (e extending) RoundTrip(req *http.Request) (*http.Response, error) {
	key := req.Header.Get("Sec-WebSocket-Key")
	fields := req.Header.Clone()
	for _, name := range []string{"Connection", "Upgrade", "Sec-WebSocket-Key"} {
		fields.Del(name)
	}
	resp, s, err := e.x.open(req.URL.RequestURI(), fields)
	if err != nil || s == nil {
		return resp, err
	}
	resp.StatusCode = 101
	resp.Header.Set("Connection", "Upgrade")
	resp.Header.Set("Upgrade", "websocket")
	resp.Header.Set("Sec-WebSocket-Accept", acceptFor(key))
	resp.Body = s
	return resp, nil
}
