package proxy

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// peek waits until nc has something to read and returns its first byte, which
// stays where it is. Nothing but the goroutine's stack is held meanwhile. known is
// false at the end of nc, on an error, and for a connection that can't be looked at.
func peek(nc net.Conn) (first byte, known bool) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return 0, false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, false
	}
	var b [1]byte
	err = raw.Read(func(fd uintptr) bool {
		for {
			n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
			if err == unix.EINTR {
				continue
			}
			known = err == nil && n == 1
			return err != unix.EAGAIN
		}
	})
	return b[0], known && err == nil
}
