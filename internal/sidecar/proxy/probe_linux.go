package proxy

import (
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// probe looks whether a connection has something to read, its end included,
// without reading it. It does not allocate after init.
type probe struct {
	raw   syscall.RawConn
	look  func(fd uintptr)
	empty bool
}

func (p *probe) init(nc net.Conn) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	p.raw = raw
	p.look = func(fd uintptr) {
		var b byte
		_, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1, unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
		p.empty = errno == unix.EAGAIN
	}
}

// quiet reports that the connection is open and silent; true for a connection
// that can't be looked at.
func (p *probe) quiet() bool {
	if p.raw == nil {
		return true
	}
	p.empty = false
	return p.raw.Control(p.look) == nil && p.empty
}
