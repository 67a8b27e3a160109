package sock

import (
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Listen returns a listener that accepts from ln, a TCP or Unix listener of package net
// which it owns, and whose connections are Conns; any other ln is returned as it is.
// What a connection inherits from its listener's socket is left so; TCP_NODELAY is set.
func Listen(ln net.Listener) net.Listener {
	var tcp bool
	switch ln.(type) {
	case *net.TCPListener:
		tcp = true
	case *net.UnixListener:
	default:
		return ln
	}
	// Package net's own listener waits for nobody else's accept.
	file, err := ln.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		return ln
	}
	raw, err := file.SyscallConn()
	if err == nil {
		err = file.SetDeadline(time.Time{}) // fails if the runtime does not watch it
	}
	if err != nil {
		file.Close()
		return ln
	}
	if tcp { // accepted sockets inherit it
		_ = raw.Control(func(fd uintptr) { _ = setOption(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) })
	}
	return &listener{Listener: ln, file: file, raw: raw, tcp: tcp}
}

type listener struct {
	net.Listener
	file *os.File // the same socket, which is accepted from
	raw  syscall.RawConn
	tcp  bool
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.file.Close()
	return l.Listener.Close()
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	fd, from, errno := 0, address{}, syscall.Errno(0)
	err := l.raw.Read(func(of uintptr) bool {
		for {
			from.size = uint32(len(from.raw))
			var n uintptr
			n, _, errno = unix.RawSyscall6(unix.SYS_ACCEPT4, of, uintptr(unsafe.Pointer(&from.raw)), uintptr(unsafe.Pointer(&from.size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
			if fd = int(n); errno != unix.EINTR && errno != unix.ECONNABORTED { // gone before it was accepted
				return errno != unix.EAGAIN
			}
		}
	})
	if err != nil { // in the words of files
		err = net.ErrClosed
	} else if errno != 0 {
		err = os.NewSyscallError("accept4", errno)
	}
	if err != nil {
		return nil, &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: err}
	}
	peer := from.port()
	if !l.tcp {
		peer = invalid
	}
	return newConn(fd, peer), nil
}
