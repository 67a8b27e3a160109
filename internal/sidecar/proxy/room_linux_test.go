package proxy

import (
	"bufio"
	"io"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRoomFor(t *testing.T) {
	for n, want := range map[int]int{1: 0, roomyConns: 0, roomyConns + 1: sharedRoom / (roomyConns + 1), 512: 128 << 10, 5000: leastRoom} {
		if got := roomFor(n); got != want {
			t.Errorf("connection %d: %d bytes, want %d", n, got, want)
		}
	}
}

// TestManyGetLess: the first tunnels of a session have all the room that the kernel
// gives, the next ones less, towards both sides.
func TestManyGetLess(t *testing.T) {
	addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) { io.Copy(c, r) })
	s, proxy := start(t, Config{Dialer: dialTo(addr)})
	for range roomyConns + 3 {
		c := connectTo(t, proxy)
		c.send(connectReq + "x")
		c.expect(established + "x")
	}
	unsent := func(nc net.Conn) (n int) {
		raw, err := nc.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) { n, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT) })
		if err != nil {
			t.Fatal(err)
		}
		return max(n, 0) // -1 is none, too
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	less := 0
	for c := range s.conns {
		if c.room > 0 {
			less++
		}
		for _, nc := range []net.Conn{c.raw, c.peer} {
			if n := unsent(nc); n != c.room {
				t.Errorf("%v may have %d unsent bytes, want %d", nc.RemoteAddr(), n, c.room)
			}
		}
	}
	if less != 3 {
		t.Errorf("%d connections of %d have less room", less, len(s.conns))
	}
}
