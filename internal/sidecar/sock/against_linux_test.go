package sock_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"firma/internal/sidecar/sock"
)

// TestAgainstNet does the same at random to one of our connections and to one of package
// net's, whose word each time is right.
func TestAgainstNet(t *testing.T) {
	for seed := range uint64(rounds(60)) {
		network := []string{"tcp", "unix"}[seed%2]
		near, far := both(t, network)
		ours := &script{near: near.(half), far: farHalf(t, far), rng: rand.New(rand.NewPCG(seed, 0))}
		near, far = plain(t, network)
		nets := &script{near: near.(half), far: far.(half), rng: rand.New(rand.NewPCG(seed, 0))}
		for step := range 60 {
			got, want := ours.step(), nets.step()
			if got != want {
				t.Errorf("seed %d, step %d: %s; package net: %s", seed, step, got, want)
				break
			}
		}
	}
}

func farHalf(t *testing.T, c net.Conn) half {
	h, ok := c.(half)
	if !ok {
		t.Fatalf("%T has no halves", c)
	}
	return h
}

// plain is both of package net.
func plain(t *testing.T, network string) (near, far net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = t.TempDir() + "/s"
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if far, err = net.Dial(network, ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if near, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

// script is one connection to which things are done, one after the other.
type script struct {
	near, far half
	rng       *rand.Rand
	coming    []byte // for near to read
	ended     bool   // far has ended what it says
	gone      bool   // far is closed
	mute      bool   // near has ended what it says
}

// step does one thing and tells how it went.
func (s *script) step() string {
	n := s.rng.IntN(3000)
	switch do := s.rng.IntN(24); do {
	case 0, 1, 2, 3:
		if s.ended || len(s.coming) > 20_000 {
			return "nothing"
		}
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(s.rng.Uint32())
		}
		m, err := s.far.Write(b)
		s.coming = append(s.coming, b[:m]...)
		return "far writes " + outcome(m, err)
	case 4, 5, 6, 7:
		return s.read(n)
	case 8, 9:
		if s.gone {
			return "nothing"
		}
		return s.write(do == 9, n)
	case 10:
		return fmt.Sprintf("read deadline %v", class(s.near.SetReadDeadline(s.moment())))
	case 11:
		return fmt.Sprintf("write deadline %v", class(s.near.SetWriteDeadline(s.moment())))
	case 12, 13:
		_ = s.near.SetDeadline(time.Time{})
		return "deadlines off"
	case 14:
		m, err := s.near.Read(nil)
		return "read of nothing " + outcome(m, err)
	case 15:
		return "looked at: " + s.look()
	case 16:
		if s.rng.IntN(4) > 0 || s.gone {
			return "nothing"
		}
		s.ended = true
		return "far ends " + class(s.far.CloseWrite())
	case 17:
		if s.rng.IntN(4) > 0 || s.gone {
			return "nothing"
		}
		s.mute = true
		return "near ends " + class(s.near.CloseWrite())
	case 18:
		if s.rng.IntN(6) > 0 {
			return "nothing"
		}
		return "near closes " + class(s.near.Close())
	case 19:
		if s.rng.IntN(6) > 0 || s.gone {
			return "nothing"
		}
		if tcp, ok := s.far.(interface{ SetLinger(int) error }); ok && s.rng.IntN(2) == 0 {
			_ = tcp.SetLinger(0)
		}
		s.ended, s.gone = true, true
		return "far closes " + class(s.far.Close())
	}
	return "nothing"
}

func (s *script) moment() time.Time {
	return []time.Time{{}, time.Unix(1, 0), time.Now().Add(-time.Second), time.Now().Add(time.Hour)}[s.rng.IntN(4)]
}

// read asks for n bytes, and for no more than what is coming, if anything is.
func (s *script) read(n int) string {
	await := s.rng.IntN(3) == 0
	if len(s.coming) == 0 && !s.ended {
		if err := s.near.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			return "read deadline " + class(err)
		}
	}
	if c, ok := s.near.(*sock.Conn); ok && await {
		if err := c.AwaitRead(); err != nil && class(err) != "late" && class(err) != "closed" {
			return "awaits " + class(err)
		}
	}
	b := make([]byte, max(min(n, len(s.coming)), 1))
	m, err := io.ReadFull(s.near, b)
	if string(b[:m]) != string(s.coming[:m]) {
		return "something else is read"
	}
	s.coming = s.coming[m:]
	return "reads " + outcome(m, err)
}

// write has far read what it was.
func (s *script) write(pieces bool, n int) string {
	b := make([]byte, n+1)
	for i := range b {
		b[i] = byte(s.rng.Uint32())
	}
	i, j := s.rng.IntN(len(b)), s.rng.IntN(len(b))
	i, j = min(i, j), max(i, j)
	m, err := 0, error(nil)
	c, ok := s.near.(*sock.Conn)
	switch v := (net.Buffers{b[:i], b[i:j], b[j:]}); {
	case !pieces:
		m, err = s.near.Write(b)
	case ok:
		m, err = c.WriteBuffers(v...)
	default:
		var long int64
		long, err = v.WriteTo(s.near)
		m = int(long)
	}
	got := make([]byte, m)
	if _, ferr := io.ReadFull(s.far, got); ferr != nil || string(got) != string(b[:m]) {
		return "something else arrives: " + class(ferr)
	}
	return "writes " + outcome(m, err)
}

func (s *script) look() string {
	raw, err := s.near.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { _, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_TYPE) })
	}
	if err == nil {
		err = raw.Write(func(uintptr) bool { return true })
	}
	return class(err)
}

func outcome(n int, err error) string { return fmt.Sprintf("%d, %s", n, class(err)) }

// class is what callers tell errors apart by.
func class(err error) string {
	var ne net.Error
	switch {
	case err == nil:
		return "fine"
	case err == io.EOF, err == io.ErrUnexpectedEOF:
		return err.Error()
	case errors.Is(err, os.ErrDeadlineExceeded):
		if !errors.As(err, &ne) || !ne.Timeout() {
			return "late, but no timeout"
		}
		return "late"
	case errors.Is(err, net.ErrClosed):
		return "closed"
	}
	var no syscall.Errno
	if errors.As(err, &no) {
		return no.Error()
	}
	return err.Error()
}
