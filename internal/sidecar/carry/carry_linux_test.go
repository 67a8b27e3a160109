package carry_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"firma/internal/sidecar/allowance"
	"firma/internal/sidecar/carry"
	"firma/internal/sidecar/sock"
)

// world is a pair and what is at its two far ends.
type world struct {
	agent, origin socket     // the far ends
	client        *sock.Conn // of the pair, what agent is connected to
	pair          *carry.Pair
	done          chan error
}

// socket is a connection one of whose directions can end.
type socket interface {
	net.Conn
	CloseWrite() error
}

// connected returns both ends of a connection; the far one is package net's.
func connected(t testing.TB, network string) (near, far socket) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	ln = sock.Listen(ln)
	defer ln.Close()
	f, err := net.Dial(network, ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close(); f.Close() })
	f.SetDeadline(time.Now().Add(30 * time.Second)) // a hang is a failure
	return n.(socket), f.(socket)
}

func begin(t testing.TB, network string) *world {
	t.Helper()
	w := &world{done: make(chan error, 2)}
	client, agent := connected(t, network)
	upstream, origin := connected(t, "tcp")
	w.agent, w.origin, w.client = agent, origin, client.(*sock.Conn)
	w.pair = carry.New(client, upstream, nil, func(err error) { w.done <- err })
	if w.pair == nil {
		t.Fatal("two sockets make no pair")
	}
	if err := w.pair.Receive(); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) over(t testing.TB) error {
	t.Helper()
	select {
	case err := <-w.done:
		return err
	case <-time.After(30 * time.Second):
		t.Fatal("the pair does not end")
		return nil
	}
}

func expect(t testing.TB, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("%q, %v; want %q", got, err, want)
	}
}

func expectEOF(t testing.TB, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("%d bytes, %v; want the end", n, err)
	}
}

// Each direction begins when it is started, ends by itself, and the pair with the
// second; what was sent before is not lost.
func TestBothWays(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			w := begin(t, network)
			fmt.Fprint(w.agent, "early")
			fmt.Fprint(w.origin, "banner")
			expect(t, w.agent, "banner")
			w.pair.Send()
			expect(t, w.origin, "early")
			fmt.Fprint(w.agent, " bird")
			expect(t, w.origin, " bird")
			w.agent.CloseWrite()
			expectEOF(t, w.origin)
			fmt.Fprint(w.origin, "still")
			expect(t, w.agent, "still")
			w.origin.CloseWrite()
			expectEOF(t, w.agent)
			if err := w.over(t); err != nil {
				t.Error(err)
			}
			if s, r := w.pair.Sent.Load(), w.pair.Received.Load(); s != 10 || r != 11 {
				t.Errorf("%d sent, %d received", s, r)
			}
			w.pair.Cut(nil)
			if len(w.done) != 0 {
				t.Error("done was called again")
			}
		})
	}
}

// The client ended before it was listened to.
func TestEndedEarly(t *testing.T) {
	w := begin(t, "tcp")
	fmt.Fprint(w.agent, "all there is")
	w.agent.CloseWrite()
	w.pair.Send()
	got, err := io.ReadAll(w.origin)
	if err != nil || string(got) != "all there is" {
		t.Fatalf("%q, %v", got, err)
	}
	w.origin.Close()
	if err := w.over(t); err != nil {
		t.Error(err)
	}
}

// A local client may pass descriptors along, behind each of which a read stops: they
// are dropped, and what is said is carried to its end.
func TestPassedDescriptors(t *testing.T) {
	w := begin(t, "unix")
	const messages = 50
	for range messages {
		if _, _, err := w.agent.(*net.UnixConn).WriteMsgUnix([]byte("x"), syscall.UnixRights(0), nil); err != nil {
			t.Fatal(err)
		}
	}
	w.pair.Send()
	expect(t, w.origin, strings.Repeat("x", messages))
}

func TestFailures(t *testing.T) {
	reset := func(c socket) { c.(*net.TCPConn).SetLinger(0); c.Close() }
	for name, tt := range map[string]struct {
		do   func(w *world)
		want error
	}{
		"the upstream resets": {func(w *world) { reset(w.origin) }, syscall.ECONNRESET},
		"the client resets":   {func(w *world) { reset(w.agent) }, nil},
		"cut":                 {func(w *world) { w.pair.Cut(errors.ErrUnsupported) }, errors.ErrUnsupported},
		"the upstream resets after the client's end": {func(w *world) {
			w.agent.CloseWrite()
			w.origin.Read(make([]byte, 1))
			reset(w.origin)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := begin(t, "tcp")
			w.pair.Send()
			fmt.Fprint(w.origin, "x")
			expect(t, w.agent, "x")
			tt.do(w)
			if err := w.over(t); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
			// Both ends are told.
			io.Copy(io.Discard, w.agent)
			io.Copy(io.Discard, w.origin)
		})
	}
}

// A cut ends a pair whose client was never listened to, and one that nobody reads.
func TestCut(t *testing.T) {
	w := begin(t, "tcp")
	w.pair.Cut(nil)
	w.over(t)
	expectEOF(t, w.origin)

	w = begin(t, "tcp")
	w.pair.Send()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for {
			if _, err := w.origin.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	}()
	expect(t, w.agent, string(make([]byte, 1<<20)))
	w.pair.Cut(nil)
	w.over(t)
	<-sent

	client, _ := connected(t, "tcp")
	upstream, _ := connected(t, "tcp")
	p := carry.New(client, upstream, nil, func(error) { t.Error("done was called") })
	p.Cut(nil)
	if p.Receive() == nil {
		t.Error("a pair that was cut carries")
	}
}

// Whatever is no plain socket is the caller's.
func TestNoSockets(t *testing.T) {
	a, b := net.Pipe()
	c, _ := connected(t, "tcp")
	for _, two := range [][2]net.Conn{{a, b}, {a, c}, {c, a}, {struct{ net.Conn }{c}, c}} {
		if carry.New(two[0], two[1], nil, nil) != nil {
			t.Errorf("%T and %T make a pair", two[0], two[1])
		}
	}
}

// What is carried is what was sent, in pieces of every size, by slow and fast
// readers, more of them at once than there are pipes.
func TestContent(t *testing.T) {
	const pairs, each = 100, 3 << 20
	var wg sync.WaitGroup
	for i := range pairs {
		w := begin(t, []string{"tcp", "unix"}[i%2])
		w.pair.Send()
		for _, way := range [][2]socket{{w.agent, w.origin}, {w.origin, w.agent}} {
			wg.Go(func() { pour(t, way[0], way[1], each/(1+i%7), uint64(i)) })
		}
		wg.Go(func() {
			if err := <-w.done; err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func pour(t *testing.T, from, to socket, n int, seed uint64) {
	sent, got := sha256.New(), sha256.New()
	var wg sync.WaitGroup
	wg.Go(func() {
		rng, chacha := rand.New(rand.NewPCG(seed, 1)), rand.NewChaCha8([32]byte{byte(seed)})
		for left := n; left > 0; {
			b := make([]byte, min(left, 1+rng.IntN(1<<(1+rng.IntN(19)))))
			chacha.Read(b)
			sent.Write(b)
			if _, err := from.Write(b); err != nil {
				t.Error(err)
				return
			}
			left -= len(b)
		}
		from.CloseWrite()
	})
	rng := rand.New(rand.NewPCG(seed, 2))
	for {
		b := make([]byte, 1+rng.IntN(1<<(1+rng.IntN(17))))
		m, err := to.Read(b)
		got.Write(b[:m])
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Error(err)
			break
		}
	}
	wg.Wait()
	if !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		t.Errorf("pair %d: what arrived is not what was sent", seed)
	}
}

// A pair that nobody reads holds up no other one of its loop.
func TestOneStalls(t *testing.T) {
	var stalled []*world
	for range 2 * runtime.GOMAXPROCS(0) {
		w := begin(t, "tcp")
		w.pair.Send()
		go func() {
			for _, err := w.origin.Write(make([]byte, 1<<20)); err == nil; _, err = w.origin.Write(make([]byte, 1<<20)) {
			}
		}()
		stalled = append(stalled, w)
	}
	for range 2 * runtime.GOMAXPROCS(0) {
		w := begin(t, "tcp")
		w.pair.Send()
		fmt.Fprint(w.agent, "ping")
		expect(t, w.origin, "ping")
		w.pair.Cut(nil)
		w.over(t)
	}
	for _, w := range stalled {
		w.pair.Cut(nil)
		w.over(t)
	}
}

// Silent pairs take no goroutines.
func TestSilentPairs(t *testing.T) {
	begin(t, "tcp").pair.Send() // the loops run from now on
	before := runtime.NumGoroutine()
	for range 100 {
		w := begin(t, "tcp")
		w.pair.Send()
		fmt.Fprint(w.agent, "x")
		expect(t, w.origin, "x")
	}
	if n := runtime.NumGoroutine(); n > before+10 {
		t.Errorf("%d goroutines before, %d with 100 silent pairs", before, n)
	}
}

// Pairs that are cut from elsewhere while they carry end once.
func TestCutMeanwhile(t *testing.T) {
	for range 300 {
		w := begin(t, "tcp")
		var wg sync.WaitGroup
		wg.Go(func() { w.pair.Send() })
		wg.Go(func() { w.origin.Write(make([]byte, 100<<10)); w.origin.Close() })
		wg.Go(func() { io.Copy(io.Discard, w.agent); w.agent.Close() })
		wg.Go(func() { w.pair.Cut(nil) })
		w.over(t)
		wg.Wait()
	}
}

// What waits for a slow end is held within the session's memory: a pair that finds
// no room ends. There are more pairs than pipes, in which the kernel would hold it.
func TestMemory(t *testing.T) {
	const most, pairs = 16 << 10, 120
	mine := allowance.New(most)
	done := make(chan error, pairs)
	for range pairs {
		client, agent := connected(t, "tcp")
		upstream, origin := connected(t, "tcp")
		agent.(*net.TCPConn).SetReadBuffer(4 << 10)
		p := carry.New(client, upstream, mine, func(err error) { done <- err })
		if err := p.Receive(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Cut(nil) })
		go func() {
			for _, err := origin.Write(make([]byte, 64<<10)); err == nil; _, err = origin.Write(make([]byte, 64<<10)) {
			}
		}()
	}
	if err := <-done; !errors.Is(err, carry.ErrNoRoom) {
		t.Errorf("%v, want %v", err, carry.ErrNoRoom)
	}
	if n := mine.Used(); n > most {
		t.Errorf("%d bytes are held", n)
	}
}

// TestSendIf: what the client sends is carried once whoever wants to look first is
// content, and stays to be read until then, however often that takes.
func TestSendIf(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		client, agent := connected(t, network)
		upstream, origin := connected(t, "tcp")
		w := &world{agent: agent, origin: origin, done: make(chan error, 2)}
		w.pair = carry.New(client, upstream, nil, func(err error) { w.done <- err })
		var heard []string
		w.pair.Overhear(func(piece []byte) bool {
			heard = append(heard, string(piece))
			return len(heard) < 2
		})
		if err := w.pair.Receive(); err != nil {
			t.Fatal(err)
		}
		asked := make(chan struct{}, 1)
		no := func() bool { asked <- struct{}{}; return false }
		for _, s := range []string{"one", "two"} {
			w.pair.SendIf(no)
			io.WriteString(agent, s)
			<-asked
			io.WriteString(origin, s) // the other direction goes on
			expect(t, agent, s)
			expect(t, client, s)
		}
		w.pair.SendIf(no)
		io.WriteString(agent, "three")
		<-asked
		w.pair.SendIf(func() bool { asked <- struct{}{}; return true })
		<-asked // of what was there before
		expect(t, origin, "three")
		io.WriteString(agent, "four")
		expect(t, origin, "four")
		io.WriteString(origin, "four")
		expect(t, agent, "four")
		w.agent.CloseWrite()
		expectEOF(t, origin)
		origin.Close()
		if err := w.over(t); err != nil || len(heard) != 2 || heard[0] != "one" || heard[1] != "two" {
			t.Error(err, heard)
		}
	}
}

// TestOverhearEnd: that there is nothing to be heard is heard, too.
func TestOverhearEnd(t *testing.T) {
	client, _ := connected(t, "tcp")
	upstream, origin := connected(t, "tcp")
	p := carry.New(client, upstream, nil, func(error) {})
	heard := make(chan []byte, 9)
	p.Overhear(func(piece []byte) bool { heard <- piece; return true })
	if err := p.Receive(); err != nil {
		t.Fatal(err)
	}
	origin.CloseWrite()
	if piece := <-heard; piece != nil {
		t.Errorf("%q", piece)
	}
	p.Cut(nil)
}
