package h2

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
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
		resp.Body = &extended{Reader: body, Writer: w, close: func() { w.Close(); body.Close() }}
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
		b, _ := io.ReadAll(buffered)
		got <- string(b)
	}), "http/1.1")
	for _, tt := range []struct{ path, sends, passes, arrives, why string }{
		{"/client", "\x89\x81\x00\x00\x00\x00pSSH-2.0-x\r\n", "\x89\x81\x00\x00\x00\x00p", "", "the client: a reserved"},
		{"/server", "", "", "\x81\x02hi", "the server: a reserved"},
	} {
		e := newEnforcer()
		_, addr := start(t, Config{Enforcer: e, DialTLS: dialTo(up)})
		req, _ := http.NewRequest("GET", "https://"+host+tt.path, nil)
		resp, err := newExtendedClient(t, addr).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(resp.Body.(io.Writer), tt.sends)
		arrived, err := io.ReadAll(resp.Body)
		if string(arrived) != tt.arrives || err == nil {
			t.Errorf("%s: the client got %q, %v", tt.path, arrived, err)
		}
		resp.Body.Close()
		if s := receive(t, got); s != tt.passes {
			t.Errorf("%s: the server got %q", tt.path, s)
		}
		if d := receive(t, e.ended); d.Abort != verdict.ConnectorFailure || !strings.Contains(d.Detail, tt.why) {
			t.Errorf("%s: %+v", tt.path, d)
		}
	}
}
