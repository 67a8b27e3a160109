package conformance

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	gorilla "github.com/gorilla/websocket"
)

// peer is a WebSocket implementation that others wrote, as an echo.
type peer struct {
	name   string
	strict bool   // all that is required can be asked of it
	judges bool   // it looks whether a text is UTF-8
	cuts   bool   // it takes the end of a connection for that of a message
	addr   string // of its server, without TLS
}

func (p *peer) asked(c *wsCase) bool { return p.judges || c.class() != "6" }

// servers starts the echo servers.
func servers(t *testing.T) []peer {
	t.Helper()
	local := func(h http.HandlerFunc) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	return []peer{
		{"gorilla/websocket", false, false, false, local(func(w http.ResponseWriter, r *http.Request) {
			up := gorilla.Upgrader{}
			if c, err := up.Upgrade(w, r, nil); err == nil {
				echoGorilla(c)
			}
		})},
		{"coder/websocket", false, false, true, local(func(w http.ResponseWriter, r *http.Request) {
			if c, err := coder.Accept(w, r, nil); err == nil {
				echoCoder(r.Context(), c)
			}
		})},
		{"gobwas/ws", false, true, false, local(func(w http.ResponseWriter, r *http.Request) {
			if c, _, _, err := ws.UpgradeHTTP(r, w); err == nil {
				echoGobwas(c, ws.StateServerSide)
			}
		})},
		{"python websockets", true, true, false, "127.0.0.1:" + external(t, python, "testdata/ws_echo.py", "server").line(t)},
		{"node ws", true, true, false, "127.0.0.1:" + external(t, node, "testdata/ws_echo.js", "server").line(t)},
	}
}

func echoGorilla(c *gorilla.Conn) {
	defer c.Close()
	for {
		kind, b, err := c.ReadMessage()
		if err != nil || c.WriteMessage(kind, b) != nil {
			return
		}
	}
}

func echoCoder(ctx context.Context, c *coder.Conn) {
	defer c.CloseNow()
	c.SetReadLimit(1 << 20)
	for {
		kind, b, err := c.Read(ctx)
		if err != nil || c.Write(ctx, kind, b) != nil {
			return
		}
	}
}

// echoGobwas puts the library's parts together as its documentation says.
func echoGobwas(c net.Conn, side ws.State) {
	defer c.Close()
	control := wsutil.ControlFrameHandler(c, side)
	rd := wsutil.Reader{Source: c, State: side, CheckUTF8: true, OnIntermediate: control}
	for {
		h, err := rd.NextFrame()
		if err == nil && h.OpCode.IsControl() {
			if err = control(h, &rd); err == nil {
				continue
			}
			return // it has answered a Close frame
		}
		var b []byte
		if err == nil {
			b, err = io.ReadAll(&rd)
		}
		if errors.As(err, new(wsutil.ClosedError)) {
			return
		}
		if err != nil {
			code := ws.StatusProtocolError
			if err == wsutil.ErrInvalidUTF8 {
				code = ws.StatusInvalidFramePayloadData
			}
			wsutil.WriteMessage(c, side, ws.OpClose, ws.NewCloseFrameBody(code, ""))
			return
		}
		if wsutil.WriteMessage(c, side, h.OpCode, b) != nil {
			return
		}
	}
}

const (
	python = "/usr/bin/python3"
	node   = "node"
)

// child is an implementation in a process of its own.
type child struct {
	in  io.Writer
	out *bufio.Reader
}

func external(t *testing.T, program string, args ...string) *child {
	t.Helper()
	cmd := exec.Command(program, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v: install nodejs, node-ws and python3-websockets", program, err)
	}
	t.Cleanup(func() {
		in.Close()
		if cmd.Wait(); stderr.Len() > 0 {
			t.Errorf("%s %v: %s", program, args, &stderr)
		}
	})
	return &child{in, bufio.NewReader(out)}
}

func (c *child) line(t *testing.T) string {
	t.Helper()
	s, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatalf("%v after %q: install nodejs, node-ws and python3-websockets", err, s)
	}
	return strings.TrimSpace(s)
}

// task is what a child does as a client, and do has it done.
type task struct {
	Port     int   `json:"port"`
	Offer    any   `json:"offer,omitempty"`
	Messages []int `json:"messages,omitempty"`
}

func (c *child) do(t *testing.T, x task) string {
	t.Helper()
	b, _ := json.Marshal(x)
	c.in.Write(append(b, '\n'))
	return c.line(t)
}

// inTLS puts TLS in front of a server that has none.
func inTLS(t *testing.T, addr string) dialer {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go splice(ln, func(net.Conn) (net.Conn, error) { return net.Dial("tcp", addr) })
	return dialer{ln.Addr().String(), roots}
}

// splice carries what comes on ln, unread.
func splice(ln net.Listener, dial func(net.Conn) (net.Conn, error)) {
	for {
		a, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer a.Close()
			b, err := dial(a)
			if err != nil {
				return
			}
			defer b.Close()
			done := make(chan struct{})
			carry := func(dst, src net.Conn) {
				defer func() { done <- struct{}{} }()
				io.Copy(dst, src)
				dst.(interface{ CloseWrite() error }).CloseWrite()
			}
			go carry(a, b)
			go carry(b, a)
			<-done
			<-done
		}()
	}
}

// front is a port behind which firma is, for clients that can't be told how to use
// a proxy.
func (x *world) front(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go splice(ln, func(a net.Conn) (net.Conn, error) { return x.agent(context.Background()) })
	return ln.Addr().(*net.TCPAddr).Port
}

// agent is a connection for a client that believes it is the server's.
func (x *world) agent(ctx context.Context) (net.Conn, error) {
	c, err := x.stream(ctx)
	if err != nil || x.tls {
		return c, err
	}
	return &absolute{TCPConn: c.(*net.TCPConn)}, nil
}

// absolute puts the first request's target in the form for proxies.
type absolute struct {
	*net.TCPConn
	done bool
}

func (a *absolute) Write(p []byte) (int, error) {
	if a.done {
		return a.TCPConn.Write(p)
	}
	a.done = true
	_, err := a.TCPConn.Write(bytes.Replace(p, []byte("GET /"), []byte("GET http://"+name+"/"), 1))
	return len(p), err
}

func (a *absolute) ReadFrom(r io.Reader) (int64, error) { return io.Copy(struct{ io.Writer }{a}, r) }

// direct opens a WebSocket to a server without firma.
func direct(addr, fields string) (socket, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+name+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "+exampleKey+"\r\n"+fields+"\r\n")
	r := bufio.NewReader(c)
	if _, err := http.ReadResponse(r, nil); err != nil {
		return nil, err
	}
	return &upgraded{c, r}, nil
}

// put sends a case to an echo and returns what that answers. Where all is in order
// it closes the connection once everything has come back.
func put(s socket, c *wsCase, client bool) outcome {
	hurry := time.AfterFunc(patience, func() { s.Close() })
	defer hurry.Stop()
	defer s.Close()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for _, b := range fast.pieces(c, c.frames, client) {
			s.Write(b)
		}
	}()
	left := c.code == 0 && c.pass == len(c.frames) && c.frames[c.pass-1].first != fin|clos
	messages, pongs := c.answers()
	var back []frame
	for r := bufio.NewReader(s); ; {
		if left && messages <= 0 && pongs <= 0 {
			<-sent
			s.Write(closing(1000, "").wire(client))
			left = false
		}
		f, _, err := readFrame(r)
		if err != nil {
			return said(back)
		}
		switch back = append(back, f); {
		case f.first == fin|clos: // what follows is of no interest
			return said(back)
		case f.first == fin|pong:
			pongs--
		case f.first&fin != 0:
			messages--
		}
	}
}
