package sock_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"firma/internal/sidecar/sock"
)

// What is sent leaves at once, descriptors are not inherited, and what the listener's
// socket says of silent peers holds for the accepted ones.
func TestOptions(t *testing.T) {
	ln, err := (&net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1) })
	}}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln = sock.Listen(ln)
	defer ln.Close()
	far, err := sock.Dial(t.Context(), 0, ln.Addr().(*net.TCPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	near, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	for c, alive := range map[net.Conn]int{near: 1, far: 0} { // a peer on this host can't vanish
		fd, _ := c.(*sock.Conn).Use()
		for _, o := range []struct{ level, name, want int }{
			{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1}, {unix.SOL_SOCKET, unix.SO_KEEPALIVE, alive},
			{unix.SOL_SOCKET, unix.SO_PROTOCOL, unix.IPPROTO_TCP},
		} {
			if got, err := unix.GetsockoptInt(fd, o.level, o.name); err != nil || got != o.want {
				t.Errorf("%v: option %d is %d, %v", c.LocalAddr(), o.name, got, err)
			}
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("flags %#x, %v", flags, err)
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
			t.Errorf("flags %#x, %v", flags, err)
		}
		c.(*sock.Conn).Done()
	}
}

// Closing resets where that was asked for, and never waits.
func TestLinger(t *testing.T) {
	for seconds, want := range map[int]error{0: syscall.ECONNRESET, -1: io.EOF} {
		near, far := both(t, "tcp")
		if err := near.(*sock.Conn).SetLinger(seconds); err != nil {
			t.Error(err)
		}
		near.Close()
		if _, err := far.Read(make([]byte, 1)); !errors.Is(err, want) {
			t.Errorf("%d: %v, want %v", seconds, err, want)
		}
	}
	near, _ := both(t, "tcp")
	if near.(*sock.Conn).SetLinger(1) == nil {
		t.Error("closing may wait")
	}
}

// IPv4 is IPv4, however it is written and whatever listens.
func TestFamilies(t *testing.T) {
	for _, c := range []struct{ listen, dial, want string }{
		{"127.0.0.1:0", "127.0.0.1", "127.0.0.1"},
		{"127.0.0.1:0", "::ffff:127.0.0.1", "127.0.0.1"},
		{"[::]:0", "127.0.0.1", "127.0.0.1"},
		{"[::1]:0", "::1", "::1"},
	} {
		ln, err := net.Listen("tcp", c.listen)
		if err != nil {
			t.Fatal(err)
		}
		ln = sock.Listen(ln)
		to := netip.AddrPortFrom(netip.MustParseAddr(c.dial), ln.Addr().(*net.TCPAddr).AddrPort().Port())
		far, err := sock.Dial(context.Background(), 0, to)
		if err != nil {
			t.Fatal(err)
		}
		near, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range []net.Addr{near.LocalAddr(), near.RemoteAddr(), far.LocalAddr(), far.RemoteAddr()} {
			if got := a.(*net.TCPAddr).AddrPort().Addr().String(); got != c.want {
				t.Errorf("%+v: %s", c, got)
			}
		}
		near.Close()
		far.Close()
		ln.Close()
	}
}
