package sock_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/net/nettest"
	"golang.org/x/sys/unix"

	"firma/internal/sidecar/sock"
)

// listen returns a listener of the kind that is tested, on loopback or in a directory.
func listen(t testing.TB, network string) net.Listener {
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
	t.Cleanup(func() { ln.Close() })
	return ln
}

// both returns an accepted connection and the one that was dialled.
func both(t testing.TB, network string) (near, far net.Conn) {
	t.Helper()
	ln := listen(t, network)
	var err error
	if network == "unix" {
		far, err = net.Dial("unix", ln.Addr().String())
	} else {
		far, err = sock.Dial(context.Background(), 0, ln.Addr().(*net.TCPAddr).AddrPort())
	}
	if err != nil {
		t.Fatal(err)
	}
	if near, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

// What package net's connections promise, these keep.
func TestConn(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				near, far := both(t, network)
				return near, far, func() { near.Close(); far.Close() }, nil
			})
		})
	}
}

// Pieces arrive in order and whole, however many there are and however slowly they are
// read.
func TestWriteBuffers(t *testing.T) {
	near, far := both(t, "tcp")
	var pieces [][]byte
	var want []byte
	for i := range 11 {
		p := bytes.Repeat([]byte{byte('a' + i)}, i*i*20_000)
		pieces, want = append(pieces, p), append(want, p...)
	}
	sent := make(chan error, 1)
	go func() {
		n, err := near.(*sock.Conn).WriteBuffers(pieces...)
		if n != len(want) {
			err = errors.Join(err, fmt.Errorf("%d of %d bytes", n, len(want)))
		}
		near.Close()
		sent <- err
	}()
	got, err := io.ReadAll(iotest.HalfReader(far))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// AwaitRead returns for bytes and for the end, whenever they came, and waits otherwise.
func TestAwaitRead(t *testing.T) {
	for name, before := range map[string]bool{"had come": true, "come later": false} {
		t.Run(name, func(t *testing.T) {
			near, far := both(t, "tcp")
			c := near.(*sock.Conn)
			say := func(what func()) {
				if before {
					what()
				} else {
					go what()
				}
			}
			say(func() { io.WriteString(far, "first") })
			wait(t, c)
			read(t, c, "first")
			say(func() { io.WriteString(far, "last"); far.Close() })
			wait(t, c)
			read(t, c, "last")
			wait(t, c) // the end may have been announced along with the bytes
			if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("%d, %v", n, err)
			}
		})
	}
	near, _ := both(t, "tcp")
	near.SetReadDeadline(time.Now().Add(time.Millisecond))
	if err := near.(*sock.Conn).AwaitRead(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	near.SetReadDeadline(time.Time{})
	go near.Close()
	if err := near.(*sock.Conn).AwaitRead(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func wait(t *testing.T, c *sock.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(30 * time.Second)) // a hang is a failure
	if err := c.AwaitRead(); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("%q, %v", got, err)
	}
}

// What can't be connected to is told as package net tells it, and in time.
func TestDial(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := ln.Addr().(*net.TCPAddr).AddrPort()
	ln.Close()
	if _, err := sock.Dial(t.Context(), 0, to); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error(err)
	}
	for _, bad := range []netip.AddrPort{{}, netip.MustParseAddrPort("[fe80::1%lo]:1")} {
		if _, err := sock.Dial(t.Context(), 0, bad); err == nil {
			t.Error(bad)
		}
	}
	full := silent(t)
	if _, err := sock.Dial(t.Context(), 20*time.Millisecond, full); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := sock.Dial(ctx, 0, full); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// silent returns an address that answers no one: its backlog is full.
func silent(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*unix.SockaddrInet4).Port))
	for {
		c, err := net.DialTimeout("tcp", at.String(), 100*time.Millisecond)
		if err != nil {
			return at
		}
		t.Cleanup(func() { c.Close() })
	}
}

// Descriptors are not closed under whoever uses them: connections that are closed while
// others read, write and ask about them never touch another's.
func TestCloseUnderUse(t *testing.T) {
	var wg sync.WaitGroup
	for range 300 {
		near, far := both(t, "tcp")
		for _, use := range []func(){
			func() { io.Copy(io.Discard, near) },
			func() { near.Write(make([]byte, 1<<20)) },
			func() { near.SetDeadline(time.Now().Add(time.Hour)) },
			func() { _ = near.LocalAddr() },
			func() { near.(*sock.Conn).CloseWrite() },
			func() { near.Close() },
			func() { io.CopyN(far, far, 100); far.Close() },
		} {
			wg.Go(use)
		}
	}
	wg.Wait()
}
