package proxy

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"

	"firma/internal/verdict"
)

const upgrade = get + "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"

// TestOnlyFramesPass: after an upgrade nothing but frames gets through, in either
// direction, and what tried is recorded.
func TestOnlyFramesPass(t *testing.T) {
	const switched = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: JVxkmtKFjDcI/Pm/AGPEKSN6wT8=\r\n\r\n"
	const ping = "\x89\x81\x00\x00\x00\x00p"
	for _, tt := range []struct {
		name, fromClient, fromServer string
		passes, arrives              string // at the server, at the client
		why                          string
	}{
		{"another protocol from the client", "SSH-2.0-x\r\n", "", "", "", "the client: a reserved"},
		{"another protocol after a frame", ping + "SSH-2.0-x\r\n", "", ping, "", "the client: a reserved"},
		{"another protocol from the server", "", "SSH-2.0-x\r\n", "", "", "the server: a reserved"},
		{"a frame and another protocol from the server", "", "\x81\x02hi\x00garbage", "", "\x81\x02hi", "the server: a continuation"},
		{"compressed though nobody agreed", "", "\xc1\x02hi", "", "", "the server: a reserved bit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := make(chan string, 1)
			addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
				readHead(r)
				io.WriteString(c, switched+tt.fromServer)
				b, _ := io.ReadAll(r)
				got <- string(b)
			})
			e := &enforcer{ended: make(chan Dispatch, 1)}
			_, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: e})
			c := connectTo(t, proxy)
			c.send(upgrade + tt.fromClient)
			all, _ := io.ReadAll(c.r)
			_, frames, _ := strings.Cut(string(all), "\r\n\r\n")
			if frames != tt.arrives {
				t.Errorf("the client got %q", frames)
			}
			if s := receive(t, got); s != tt.passes {
				t.Errorf("the server got %q", s)
			}
			if d := receive(t, e.ended); d.Abort != verdict.ConnectorFailure || !strings.Contains(d.Detail, tt.why) {
				t.Errorf("%+v", d)
			}
		})
	}
}

func TestUnknownWebSocketExtension(t *testing.T) {
	addr, _, _ := answering(t, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: JVxkmtKFjDcI/Pm/AGPEKSN6wT8=\r\nSec-WebSocket-Extensions: x-tunnel\r\n\r\n")
	_, proxy := start(t, Config{Dialer: dialTo(addr)})
	c := connectTo(t, proxy)
	c.send(upgrade)
	if status, _, _ := c.response(); status != "HTTP/1.1 504 Gateway Timeout" {
		t.Error(status)
	}
}

// TestWebSocketPeers has the two client libraries talk to the other's server
// through the proxy, compressed and not.
func TestWebSocketPeers(t *testing.T) {
	message := bytes.Repeat([]byte("a message of some length "), 8<<10)
	for _, compressed := range []bool{false, true} {
		mode := coder.CompressionDisabled
		if compressed {
			mode = coder.CompressionContextTakeover
		}
		up := gorilla.Upgrader{EnableCompression: compressed}
		gorillaServer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := up.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			defer c.Close()
			for {
				kind, b, err := c.ReadMessage()
				if err != nil {
					return
				}
				c.WriteMessage(kind, b)
			}
		}))
		defer gorillaServer.Close()
		coderServer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := coder.Accept(w, r, &coder.AcceptOptions{CompressionMode: mode})
			if err != nil {
				return
			}
			defer c.CloseNow()
			c.SetReadLimit(1 << 20)
			for {
				kind, b, err := c.Read(r.Context())
				if err != nil {
					return
				}
				c.Write(r.Context(), kind, b)
			}
		}))
		defer coderServer.Close()

		e := &enforcer{ended: make(chan Dispatch, 1)}
		_, addr := start(t, Config{Dialer: dialTo(coderServer.Listener.Addr().String()), Enforcer: e})
		d := gorilla.Dialer{EnableCompression: compressed, NetDialContext: forward(addr)}
		g, _, err := d.Dial("ws://ws.example.com/", nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			g.WriteMessage(gorilla.BinaryMessage, message)
			if _, got, err := g.ReadMessage(); err != nil || !bytes.Equal(got, message) {
				t.Fatal(len(got), err)
			}
		}
		g.WriteMessage(gorilla.CloseMessage, gorilla.FormatCloseMessage(1000, "bye"))
		if _, _, err := g.ReadMessage(); !gorilla.IsCloseError(err, 1000) {
			t.Error(err)
		}
		g.Close()
		if d := receive(t, e.ended); d.Abort != verdict.None {
			t.Errorf("%+v", d)
		}

		_, addr = start(t, Config{Dialer: dialTo(gorillaServer.Listener.Addr().String()), Enforcer: e})
		tr := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: addr})}
		c, _, err := coder.Dial(t.Context(), "ws://ws.example.com/", &coder.DialOptions{HTTPClient: &http.Client{Transport: tr}, CompressionMode: mode})
		if err != nil {
			t.Fatal(err)
		}
		c.SetReadLimit(1 << 20)
		for range 3 {
			c.Write(t.Context(), coder.MessageText, message)
			if _, got, err := c.Read(t.Context()); err != nil || !bytes.Equal(got, message) {
				t.Fatal(len(got), err)
			}
		}
		if err := c.Close(coder.StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
		receive(t, e.ended)
		tr.CloseIdleConnections()
	}
}

// forward dials the proxy and has it see the absolute form.
func forward(proxy string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, network, proxy)
		if err != nil {
			return nil, err
		}
		return &absolute{Conn: c, host: strings.TrimSuffix(addr, ":80")}, nil
	}
}

// absolute rewrites the target of the first request written.
type absolute struct {
	net.Conn
	host string
	done bool
}

func (a *absolute) Write(p []byte) (int, error) {
	if a.done {
		return a.Conn.Write(p)
	}
	a.done = true
	_, err := a.Conn.Write(bytes.Replace(p, []byte("GET /"), []byte("GET http://"+a.host+"/"), 1))
	return len(p), err
}
