package h2

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"

	"firma/internal/sidecar/websocket"
	"firma/internal/verdict"
)

// extendedClient opens WebSockets by extended CONNECT: to whoever asks for an
// upgrade it looks like one.
type extendedClient struct {
	t    http.RoundTripper
	last http.Header // of the last response
}

func newExtendedClient(t *testing.T, addr string) *extendedClient {
	c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, ServerName: host, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{ForceAttemptHTTP2: true}
	tr.CloseIdleConnections() // has it set up HTTP/2
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		c.Close()
	})
	return &extendedClient{t: tr.TLSNextProto["h2"](host+":443", c)}
}

func (e *extendedClient) RoundTrip(req *http.Request) (*http.Response, error) {
	key := req.Header.Get("Sec-Websocket-Key")
	r, w := io.Pipe()
	ext := req.Clone(req.Context())
	ext.Method, ext.Body, ext.ContentLength = http.MethodConnect, r, -1
	for _, name := range []string{"Connection", "Upgrade", "Sec-Websocket-Key"} {
		ext.Header.Del(name)
	}
	ext.Header[":protocol"] = []string{"websocket"}
	resp, err := e.t.RoundTrip(ext)
	if err != nil {
		return nil, err
	}
	e.last = resp.Header.Clone()
	if resp.StatusCode == 200 {
		resp.StatusCode = 101
		resp.Header.Set("Connection", "Upgrade")
		resp.Header.Set("Upgrade", "websocket")
		resp.Header.Set("Sec-Websocket-Accept", websocket.Accept(key))
		body := resp.Body
		resp.Body = &extended{Reader: body, WriteCloser: w, close: func() { w.Close(); body.Close() }}
	}
	return resp, nil
}

func echo(t *testing.T) http.Handler {
	up := gorilla.Upgrader{EnableCompression: true, Subprotocols: []string{"chat"}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			http.Error(w, "no sockets here", 404)
			return
		}
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
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
	})
}

func talk(t *testing.T, rt http.RoundTripper, mode coder.CompressionMode) {
	t.Helper()
	c, resp, err := coder.Dial(t.Context(), "wss://"+host+"/chat?room=1", &coder.DialOptions{
		HTTPClient: &http.Client{Transport: rt}, CompressionMode: mode, Subprotocols: []string{"chat"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if resp.Header.Get("Sec-Websocket-Protocol") != "chat" {
		t.Error(resp.Header)
	}
	c.SetReadLimit(1 << 24)
	for _, n := range []int{0, 1, 1000, 1 << 20} {
		message := pattern(n)
		if err := c.Write(t.Context(), coder.MessageBinary, message); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(t.Context()); err != nil || !bytes.Equal(got, message) {
			t.Fatal(len(got), err)
		}
	}
	if err := c.Close(coder.StatusNormalClosure, "bye"); err != nil {
		t.Error(err)
	}
}

func TestWebSocket(t *testing.T) {
	for _, mode := range []coder.CompressionMode{coder.CompressionDisabled, coder.CompressionContextTakeover} {
		e := newEnforcer()
		_, addr := start(t, Config{Enforcer: e, DialTLS: dialTo(origin(t, echo(t), "http/1.1"))})
		client := newExtendedClient(t, addr)
		talk(t, client, mode)
		if got := client.last.Get("Sec-Websocket-Accept"); got != "" {
			t.Error("the answer to firma's own key was passed on")
		}
		d := receive(t, e.ended)
		if d.Abort != verdict.None || d.Status != 101 || d.RequestBytes == 0 || d.ResponseBytes == 0 {
			t.Errorf("%+v", d)
		}
		if log := fmt.Sprint(e.take()); log != "[ALLOW GET "+host+"/chat?room=1]" {
			t.Error(log)
		}
	}
}

// TestWebSocketOverH2Upstream: the upstream, firma itself, speaks HTTP/2 only.
func TestWebSocketOverH2Upstream(t *testing.T) {
	_, far := start(t, Config{DialTLS: dialTo(origin(t, echo(t), "http/1.1"))})
	e := newEnforcer()
	_, near := start(t, Config{Enforcer: e, DialTLS: dialTo(far)})
	talk(t, newExtendedClient(t, near), coder.CompressionDisabled)
	if d := receive(t, e.ended); d.Abort != verdict.None {
		t.Errorf("%+v", d)
	}
}

func TestWebSocketRefused(t *testing.T) {
	e := newEnforcer()
	_, addr := start(t, Config{Enforcer: e, DialTLS: dialTo(origin(t, echo(t), "http/1.1"))})
	_, resp, err := coder.Dial(t.Context(), "wss://"+host+"/no", &coder.DialOptions{HTTPClient: &http.Client{Transport: newExtendedClient(t, addr)}})
	if err == nil || resp == nil || resp.StatusCode != 404 {
		t.Errorf("%v %v", resp, err)
	}
	if d := receive(t, e.ended); d.Status != 404 || d.Abort != verdict.None {
		t.Errorf("%+v", d)
	}
}

// TestOnlyFramesPass: what is no frame reaches neither side.
func TestOnlyFramesPass(t *testing.T) {
	got := make(chan string, 1)
	up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Sec-Websocket-Accept", websocket.Accept(r.Header.Get("Sec-Websocket-Key")))
		w.WriteHeader(101)
		c, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		if r.URL.Path == "/server" {
			io.WriteString(c, "\x81\x02hiSSH-2.0-x")
		}
		if r.URL.Path == "/within" {
			io.WriteString(c, "\x82\x05h")
		}
		b, _ := io.ReadAll(buffered)
		got <- string(b)
	}), "http/1.1")
	for _, tt := range []struct {
		path, sends, passes, arrives string
		toServer, toClient           string // Close frames that follow, with any reason; "" none
		why                          string
	}{
		{"/client", "\x89\x81\x00\x00\x00\x00pSSH-2.0-x\r\n", "\x89\x81\x00\x00\x00\x00p", "", "", "\x03\xea", "the client: a reserved"},
		{"/client", "\x88\x83\x00\x00\x00\x00\x03\xe8\xff", "", "", "", "\x03\xef", "the client: the reason"},
		{"/server", "", "", "\x81\x02hi", "\x03\xea", "\x03\xf3", "the server: a reserved"},
		{"/within", "\x83", "", "\x82\x05h", "", "", "the client: a reserved"},
	} {
		e := newEnforcer()
		_, addr := start(t, Config{Enforcer: e, DialTLS: dialTo(up)})
		req, _ := http.NewRequest("GET", "https://"+host+tt.path, nil)
		resp, err := newExtendedClient(t, addr).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		first := make([]byte, len(tt.arrives))
		if n, err := io.ReadFull(resp.Body, first); string(first) != tt.arrives {
			t.Errorf("%s: the client got %q, %v", tt.path, first[:n], err)
		}
		io.WriteString(resp.Body.(io.Writer), tt.sends)
		last, err := io.ReadAll(resp.Body)
		if !closes(last, tt.toClient) || (err == nil) != (tt.toClient != "") {
			t.Errorf("%s: then the client got %q, %v", tt.path, last, err)
		}
		s := receive(t, got)
		resp.Body.Close()
		if !strings.HasPrefix(s, tt.passes) || !closes([]byte(s[len(tt.passes):]), tt.toServer) {
			t.Errorf("%s: the server got %q", tt.path, s)
		}
		if d := receive(t, e.ended); d.Abort != verdict.ConnectorFailure || !strings.Contains(d.Detail, tt.why) {
			t.Errorf("%s: %+v", tt.path, d)
		}
	}
}

// closes reports whether b is a Close frame with code, or nothing if that is "".
func closes(b []byte, code string) bool {
	if code == "" || len(b) < 2 {
		return len(b) == 0 && code == ""
	}
	p := b[2:]
	if b[1]&0x80 != 0 {
		for i := range p[4:] {
			p[4+i] ^= p[i%4]
		}
		p = p[4:]
	}
	return b[0] == 0x88 && len(p) == int(b[1]&0x7f) && strings.HasPrefix(string(p), code)
}

// TestHandshake: the upstream sees only extensions that are known, and what is no
// answer to the handshake opens nothing.
func TestHandshake(t *testing.T) {
	asked := make(chan http.Header, 1)
	up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Header
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		accept := "Sec-WebSocket-Accept: " + websocket.Accept(r.Header.Get("Sec-WebSocket-Key")) + "\r\n"
		io.WriteString(c, strings.ReplaceAll(r.URL.Query().Get("say"), "ACCEPT", accept)+"\r\n")
	}), "http/1.1")
	const status = "HTTP/1.1 101 Switching Protocols\r\n"
	const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
	for _, tt := range []struct{ name, version, say, why string }{
		{"in order", "13", status + upgrade + "ACCEPT", ""},
		{"no version", "", status + upgrade + "ACCEPT", ""},
		{"an extension", "13", status + upgrade + "ACCEPTSec-WebSocket-Extensions: permessage-deflate\r\n", ""},
		{"an unknown extension", "13", status + upgrade + "ACCEPTSec-WebSocket-Extensions: x-tunnel\r\n", "extension"},
		{"more than was offered", "13", status + upgrade + "ACCEPTSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=9\r\n", "extension"},
		{"no Accept", "13", status + upgrade, "Accept"},
		{"another protocol", "13", status + "Connection: Upgrade\r\nUpgrade: h2c\r\nACCEPT", "unasked"},
		{"no Upgrade", "13", status + "Connection: Upgrade\r\nACCEPT", "unasked"},
		{"no Connection", "13", status + "Upgrade: websocket\r\nACCEPT", "unasked"},
		{"version 8", "8", status + upgrade + "ACCEPT", "version"},
	} {
		e := newEnforcer()
		_, addr := start(t, Config{Enforcer: e, DialTLS: dialTo(up)})
		req, _ := http.NewRequest("GET", "https://"+host+"/?say="+url.QueryEscape(tt.say), nil)
		if req.Header.Set("Sec-WebSocket-Version", tt.version); tt.version == "" {
			req.Header.Del("Sec-WebSocket-Version")
		}
		req.Header.Set("Sec-WebSocket-Extensions", "x-tunnel, permessage-deflate")
		resp, err := newExtendedClient(t, addr).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if h := receive(t, asked); h.Get("Sec-WebSocket-Extensions") != "permessage-deflate" {
			t.Errorf("%s: the server was asked %v", tt.name, h)
		}
		if tt.why == "" {
			if resp.StatusCode != 101 {
				t.Errorf("%s: %s", tt.name, resp.Status)
			}
			resp.Body.Close()
			receive(t, e.ended)
			continue
		}
		resp.Body.Close()
		if d := receive(t, e.ended); resp.StatusCode != 504 || !strings.Contains(d.Detail, tt.why) {
			t.Errorf("%s: %s %+v", tt.name, resp.Status, d)
		}
	}
}
