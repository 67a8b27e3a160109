package sidecar

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// keepAlive has the kernel ask a silent client of fd, a listener, every 15 seconds
// whether it is still there, and give it up after nine questions. A client is accepted
// when it says something, as each does first, or after a second or so of silence: most
// connections then need not be waited for twice.
func keepAlive(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 1) // only faster
		failed = errors.Join(
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1),
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15),
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15),
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 9))
	})
	return errors.Join(err, os.NewSyscallError("setsockopt", failed))
}
