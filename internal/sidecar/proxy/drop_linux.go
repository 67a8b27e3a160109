package proxy

import (
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"firma/internal/sidecar/sock"
)

// dropOnce bounds what one system call discards, in bytes.
const dropOnce = 16 << 20

// drop waits until something can be read from nc and discards up to most bytes of it,
// without a look, nor a buffer if it is TCP.
func drop(nc net.Conn, most int64) (n int64, err error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return copyAway(nc, most)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, err
	}
	var m int
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		if m, failed = sock.Drop(int(fd), int(min(most, dropOnce))); failed == unix.EFAULT {
			buf := copyPool.Get().(*[copySize]byte)
			m, failed = sock.Recv(int(fd), buf[:min(most, copySize)])
			copyPool.Put(buf)
		}
		return failed != unix.EAGAIN
	})
	switch {
	case err != nil:
		return 0, err
	case m == 0 && failed == nil:
		return 0, io.EOF
	}
	return int64(m), failed
}
