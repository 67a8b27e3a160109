package proxy

import (
	"net"
	"syscall"
	"unsafe"

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
			// Not Recvfrom, which also asks for the sender, and allocates it.
			n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1, unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
			if errno == unix.EINTR {
				continue
			}
			known = errno == 0 && n == 1
			return errno != unix.EAGAIN
		}
	})
	return b[0], known && err == nil
}
