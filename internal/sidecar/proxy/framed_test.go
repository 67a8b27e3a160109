package proxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
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

// The example of RFC 6455, section 1.3.
const (
	handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	accept    = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
	upgrade   = get + handshake + "\r\n"
	switched  = "HTTP/1.1 101 Switching Protocols\r\n" + accept + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
)

// TestOnlyFramesPass: after an upgrade nothing but frames gets through, in either
// direction, and what tried is recorded.
func TestOnlyFramesPass(t *testing.T) {
	const ping = "\x89\x81\x00\x00\x00\x00p"
	for _, tt := range []struct {
		name, fromClient, fromServer string
		passes, arrives              string // at the server, at the client
		toServer, toClient           uint16 // codes of the Close frames that follow, 0: none does
		why                          string
	}{
		{"another protocol from the client", "SSH-2.0-x\r\n", "", "", "", 0, 1002, "the client: a reserved"},
		{"another protocol after a frame", ping + "SSH-2.0-x\r\n", "", ping, "", 0, 1002, "the client: a reserved"},
		{"another protocol from the server", "", "SSH-2.0-x\r\n", "", "", 1002, 1011, "the server: a reserved"},
		{"a frame and another protocol from the server", "", "\x81\x02hi\x00garbage", "", "\x81\x02hi", 1002, 1011, "the server: a continuation"},
		{"compressed though nobody agreed", "", "\xc1\x02hi", "", "", 1002, 1011, "the server: a reserved bit"},
		{"a reason that is no UTF-8", "\x88\x83\x00\x00\x00\x00\x03\xe8\xff", "", "", "", 0, 1007, "the client: the reason"},
		{"garbage within the server's frame", "\x83", "\x82\x05h", "", "\x82\x05h", 0, 0, "the client: a reserved"},
		{"garbage after the server's Close frame", "\x83", "\x88\x00", "", "\x88\x00", 0, 0, "the client: a reserved"},
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
			c.send(upgrade)
			c.expect(switched + tt.arrives)
			c.send(tt.fromClient)
			all, _ := io.ReadAll(c.r)
			if code := closeCode(t, all); code != tt.toClient {
				t.Errorf("the client got %q", all)
			}
			s := receive(t, got)
			if !strings.HasPrefix(s, tt.passes) || closeCode(t, []byte(s[len(tt.passes):])) != tt.toServer {
				t.Errorf("the server got %q", s)
			}
			if d := receive(t, e.ended); d.Abort != verdict.ConnectorFailure || !strings.Contains(d.Detail, tt.why) {
				t.Errorf("%+v", d)
			}
		})
	}
}

// closeCode returns the code of b, a Close frame, or 0 for nothing.
func closeCode(t *testing.T, b []byte) uint16 {
	t.Helper()
	if len(b) == 0 {
		return 0
	}
	if len(b) < 4 || b[0] != 0x88 || int(b[1]&0x7f) != len(b)-2-4*int(b[1]>>7) {
		t.Fatalf("%q is no Close frame", b)
	}
	p := b[2:]
	if b[1]>>7 == 1 {
		for i := range p[4:] {
			p[4+i] ^= p[i%4]
		}
		p = p[4:]
	}
	return binary.BigEndian.Uint16(p)
}

// TestEndsWithinAFrame: a side that goes away within a frame has broken off.
func TestEndsWithinAFrame(t *testing.T) {
	for _, client := range []bool{true, false} {
		addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
			readHead(r)
			io.WriteString(c, switched)
			if !client {
				io.WriteString(c, "\x82\x05h")
				return
			}
			io.ReadAll(r)
		})
		e := &enforcer{ended: make(chan Dispatch, 1)}
		_, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: e})
		c := connectTo(t, proxy)
		c.send(upgrade)
		c.expect(switched)
		if client {
			c.send("\x82\x85\x00\x00\x00\x00h")
			c.Close()
		} else if b, _ := io.ReadAll(c.r); string(b) != "\x82\x05h" {
			t.Errorf("%q", b)
		}
		if d := receive(t, e.ended); d.Abort != verdict.ConnectorFailure || !strings.Contains(d.Detail, "within a frame") {
			t.Errorf("%+v", d)
		}
	}
}

// TestHandshake: the upstream sees only extensions that are known, and what is no
// answer to the handshake opens nothing.
func TestHandshake(t *testing.T) {
	const status = "HTTP/1.1 101 Switching Protocols\r\n"
	const up = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
	const offers = "Sec-WebSocket-Extensions: x-tunnel, permessage-deflate; client_max_window_bits\r\n"
	for _, tt := range []struct{ name, ask, say, why string }{
		{"in order", handshake, status + up + accept, ""},
		{"its own words", handshake, status + "connection: keep-alive, upgrade\r\nupgrade: WebSocket\r\n" + accept, ""},
		{"an extension", handshake + offers, status + up + accept + "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=10\r\n", ""},
		{"an unknown extension", handshake + offers, status + up + accept + "Sec-WebSocket-Extensions: x-tunnel\r\n", "extension"},
		{"an extension that was not offered", handshake, status + up + accept + "Sec-WebSocket-Extensions: permessage-deflate\r\n", "extension"},
		{"a wrong Accept", handshake, status + up + "Sec-WebSocket-Accept: x\r\n", "Accept"},
		{"no Accept", handshake, status + up, "Accept"},
		{"another protocol", handshake, status + "Connection: Upgrade\r\nUpgrade: h2c\r\n" + accept, "unasked"},
		{"a list of protocols", handshake, status + "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n" + accept, "unasked"},
		{"no Upgrade", handshake, status + "Connection: Upgrade\r\n" + accept, "unasked"},
		{"no Connection", handshake, status + "Upgrade: websocket\r\n" + accept, "unasked"},
		{"HTTP/1.0", handshake, "HTTP/1.0 101 Switching Protocols\r\n" + up + accept, "unasked"},
		{"version 8", strings.Replace(handshake, "13", "8", 1), status + up + accept, "version"},
		{"two keys", handshake + "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n", status + up + accept, "unasked"},
		{"an improper key", strings.Replace(handshake, "dGhlIHNhbXBsZSBub25jZQ==", "x", 1), status + up + accept, "key"},
		{"a list of protocols is asked", strings.Replace(handshake, "Upgrade: websocket", "Upgrade: websocket, h2c", 1), status + up + accept, "unasked"},
		{"an empty body", handshake + "Content-Length: 0\r\n", status + up + accept, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, heads, _ := answering(t, tt.say+"\r\n")
			e := &enforcer{ended: make(chan Dispatch, 1)}
			_, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: e})
			c := connectTo(t, proxy)
			c.send(get + tt.ask + "\r\n")
			line, _, _ := c.response()
			head := receive(t, heads)
			if strings.Contains(head, "x-tunnel") || strings.Contains(head, "permessage-deflate") != strings.Contains(tt.ask, "permessage-deflate") || strings.Contains(head, "h2c") {
				t.Errorf("the server was asked %q", head)
			}
			if tt.why == "" {
				if line != "HTTP/1.1 101 Switching Protocols" {
					t.Error(line)
				}
				return
			}
			if d := receive(t, e.ended); line != "HTTP/1.1 504 Gateway Timeout" || d.Abort != verdict.ConnectorFailure || !strings.Contains(d.Detail, tt.why) {
				t.Errorf("%s %+v", line, d)
			}
		})
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
