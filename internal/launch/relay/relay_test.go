//go:build linux

package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"firma/internal/attach"
	"firma/internal/control"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// opener plays a run's way to its Sidecar: one that hands the far end of each
// connection to serve, or is dead.
type opener struct {
	ln     net.Listener
	dead   atomic.Bool
	opened atomic.Int64
	kinds  sync.Map
}

func newOpener(t *testing.T, serve func(*net.TCPConn)) *opener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); serve(c.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return &opener{ln: ln}
}

func (o *opener) Open(ctx context.Context, k attach.Kind) (net.Conn, error) {
	if o.dead.Load() {
		return nil, errors.New("dead")
	}
	o.opened.Add(1)
	o.kinds.Store(k, true)
	return new(net.Dialer).DialContext(ctx, "tcp", o.ln.Addr().String())
}

// begin serves a sandbox's sockets and returns where its proxy and its DNS are.
func begin(t *testing.T, o *opener) (r *Relay, proxy, dns string) {
	t.Helper()
	files := control.Sockets{}
	for _, name := range []control.Socket{control.SocketProxy, control.SocketDNSTCP} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if name == control.SocketProxy {
			proxy = ln.Addr().String()
		}
		files[name] = file(t, ln.(*net.TCPListener))
		ln.Close()
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dns = pc.LocalAddr().String()
	files[control.SocketDNS] = file(t, pc.(*net.UDPConn))
	pc.Close()
	r = New(o, slog.New(slog.DiscardHandler))
	if err := r.Serve(files); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		f.Close()
	}
	t.Cleanup(r.Close)
	return r, proxy, dns
}

func file(t *testing.T, s interface{ File() (*os.File, error) }) *os.File {
	t.Helper()
	f, err := s.File()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// dial connects, and gives up in time should nothing ever answer.
func dial(t *testing.T, network, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { c.Close() })
	return c
}

// answerAtEnd sends back all that it was sent, once the other side has ended its
// half: only a relay that passes the end on alone gets an answer through.
func answerAtEnd(c *net.TCPConn) {
	data, err := io.ReadAll(c)
	if err == nil {
		_, _ = c.Write(data)
	}
}

func TestBothWaysAndHalfClose(t *testing.T) {
	o := newOpener(t, answerAtEnd)
	_, proxy, _ := begin(t, o)
	for _, size := range []int{0, 1, 100_000} {
		c := dial(t, "tcp", proxy)
		want := bytes.Repeat([]byte("b"), size)
		if _, err := c.Write(want); err != nil {
			t.Fatal(err)
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %d came back, %v", size, len(got), err)
		}
	}
	if _, ok := o.kinds.Load(attach.Relay); !ok {
		t.Error("the proxy's connections were not opened as such")
	}
}

func TestManyConnections(t *testing.T) {
	_, proxy, _ := begin(t, newOpener(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) }))
	const n = 200
	conns := make([]net.Conn, n)
	for i := range conns { // all open at once
		conns[i] = dial(t, "tcp", proxy)
	}
	for i, c := range conns {
		fmt.Fprintf(c, "%04d", i)
	}
	for i, c := range conns {
		var got [4]byte
		if _, err := io.ReadFull(c, got[:]); err != nil || string(got[:]) != fmt.Sprintf("%04d", i) {
			t.Errorf("connection %d: %q, %v", i, got, err)
		}
	}
}

// TestDeadSidecar: a connection that can't be passed on is closed, and goes
// nowhere; later ones are carried again.
func TestDeadSidecar(t *testing.T) {
	o := newOpener(t, answerAtEnd)
	_, proxy, _ := begin(t, o)
	o.dead.Store(true)
	if n, err := dial(t, "tcp", proxy).Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d, %v; want an end", n, err)
	}
	if o.opened.Load() != 0 {
		t.Error("something was opened")
	}
	o.dead.Store(false)
	c := dial(t, "tcp", proxy)
	fmt.Fprint(c, "again")
	_ = c.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "again" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestSidecarCuts: what the Sidecar resets, the agent sees end.
func TestSidecarCuts(t *testing.T) {
	_, proxy, _ := begin(t, newOpener(t, func(c *net.TCPConn) {
		_, _ = io.ReadFull(c, make([]byte, 1))
		_ = c.SetLinger(0)
	}))
	c := dial(t, "tcp", proxy)
	fmt.Fprint(c, "x")
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d, %v; want an end", n, err)
	}
}

// TestCloseCuts: Close ends connections under way and what listens.
func TestCloseCuts(t *testing.T) {
	r, proxy, _ := begin(t, newOpener(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) }))
	c := dial(t, "tcp", proxy)
	fmt.Fprint(c, "x")
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	r.Close()
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection outlived the relay: %v", err)
	}
	if c, err := net.Dial("tcp", proxy); err == nil {
		c.Close()
		t.Error("it listens still")
	}
}

// TestDatagrams: a question is answered to who asked; a cut answer is none.
func TestDatagrams(t *testing.T) {
	o := newOpener(t, func(c *net.TCPConn) {
		head := make([]byte, 2)
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		q := make([]byte, int(head[0])<<8|int(head[1]))
		if _, err := io.ReadFull(c, q); err != nil || string(q) == "cut" {
			return
		}
		_, _ = c.Write(append(head, bytes.ToUpper(q)...))
	})
	_, _, dns := begin(t, o)
	c := dial(t, "udp", dns)
	for _, q := range []string{"cut", "one", "two"} {
		fmt.Fprint(c, q)
		if q == "cut" {
			continue
		}
		buf := make([]byte, 100)
		if n, err := c.Read(buf); err != nil || string(buf[:n]) != string(bytes.ToUpper([]byte(q))) {
			t.Errorf("%s: %q, %v", q, buf[:n], err)
		}
	}
	if _, ok := o.kinds.Load(attach.DNS); !ok {
		t.Error("questions were not opened as such")
	}
}
