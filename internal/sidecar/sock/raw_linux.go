package sock

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"firma/internal/offhand"
)

// These calls never block, but for epollCtl, so the scheduler need not be told of them:
// with that, its watchdog would take the processor away from each that moves much.

// Peek is Recv that leaves what it read where it is.
func Peek(fd int, b []byte) (int, error) { return bytesOf(unix.SYS_RECVFROM, fd, b, unix.MSG_PEEK) }

// Drop discards up to n bytes that a TCP socket has received, in the kernel (tcp(7),
// MSG_TRUNC). Of another socket, which has no such thing, it is EFAULT.
func Drop(fd, n int) (int, error) {
	for {
		m, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), 0, uintptr(n), unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
		if errno != unix.EINTR {
			return result(m, errno)
		}
	}
}

func bytesOf(call uintptr, fd int, b []byte, flags uintptr) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT|flags, 0, 0)
		if errno != unix.EINTR {
			return result(n, errno)
		}
	}
}

// ShutWrite ends one direction of a socket.
func ShutWrite(fd int) error {
	_, _, errno := unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
	_, err := result(0, errno)
	return err
}

func sendmsg(fd int, m *unix.Msghdr) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(m)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if errno != unix.EINTR {
			return result(n, errno)
		}
	}
}

// closeFD is not tried again: the descriptor is gone in any case (close(2)).
func closeFD(fd int) { unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

func epollWait(fd int, events []unix.EpollEvent) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
		if errno != unix.EINTR {
			return result(n, errno)
		}
	}
}

// watching is how long it takes to add to what is watched.
var watching offhand.Calls

// epollCtl may wait when it adds, for a lock that all processes share: what is added to is
// watched itself, and the kernel looks for circles then. A process that has many files
// watched makes that last for milliseconds. Other operations would only hide it, since
// they are quick.
func epollCtl(fd, op, of int, e *unix.EpollEvent) error {
	var errno unix.Errno
	var call offhand.Call
	if op == unix.EPOLL_CTL_ADD {
		call = watching.Begin()
	}
	if call.Announce {
		_, _, errno = unix.Syscall6(unix.SYS_EPOLL_CTL, uintptr(fd), uintptr(op), uintptr(of), uintptr(unsafe.Pointer(e)), 0, 0)
	} else {
		_, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(fd), uintptr(op), uintptr(of), uintptr(unsafe.Pointer(e)), 0, 0)
	}
	if op == unix.EPOLL_CTL_ADD {
		watching.End(call)
	}
	_, err := result(0, errno)
	return err
}

func setOption(fd, level, name int, value int32) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name), uintptr(unsafe.Pointer(&value)), unsafe.Sizeof(value), 0)
	_, err := result(0, errno)
	return err
}

func option(fd, level, name int) (int32, error) {
	var value int32
	size := uint32(unsafe.Sizeof(value))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name), uintptr(unsafe.Pointer(&value)), uintptr(unsafe.Pointer(&size)), 0)
	_, err := result(0, errno)
	return value, err
}

// unread reports whether there are bytes to read before urgent data.
func unread(fd int) bool {
	var n int32
	_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCINQ, uintptr(unsafe.Pointer(&n)))
	return errno == 0 && n > 0
}

func result(n uintptr, errno unix.Errno) (int, error) {
	switch errno {
	case 0:
		return int(n), nil
	case unix.EAGAIN: // as an interface, it is allocated once
		return 0, errAgain
	}
	return 0, errno
}

var errAgain error = unix.EAGAIN
