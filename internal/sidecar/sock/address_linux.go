package sock

import (
	"encoding/binary"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// address is a socket address as the kernel knows it (ip(7), ipv6(7)).
type address struct {
	raw  [unix.SizeofSockaddrAny]byte
	size uint32
}

func (a *address) of(to netip.AddrPort) {
	if to.Addr().Is4() {
		a.size = unix.SizeofSockaddrInet4
		binary.NativeEndian.PutUint16(a.raw[0:], unix.AF_INET)
		ip := to.Addr().As4()
		copy(a.raw[4:], ip[:])
	} else {
		a.size = unix.SizeofSockaddrInet6
		binary.NativeEndian.PutUint16(a.raw[0:], unix.AF_INET6)
		ip := to.Addr().As16()
		copy(a.raw[8:], ip[:])
	}
	binary.BigEndian.PutUint16(a.raw[2:], to.Port())
}

func (a *address) family() uint16 { return binary.NativeEndian.Uint16(a.raw[0:]) }

// port returns what a holds of TCP; not valid for a unix socket's.
func (a *address) port() netip.AddrPort {
	port := binary.BigEndian.Uint16(a.raw[2:])
	switch a.family() {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(a.raw[4:8])), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(a.raw[8:24])).Unmap(), port)
	}
	return netip.AddrPort{}
}

// name asks for an address of fd: call is getsockname or getpeername.
func name(call uintptr, fd int) (netip.AddrPort, error) {
	var a address
	a.size = uint32(len(a.raw))
	_, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&a.raw)), uintptr(unsafe.Pointer(&a.size)))
	if errno != 0 {
		return netip.AddrPort{}, errno
	}
	return a.port(), nil
}

// netAddr is for package net's users.
func netAddr(a netip.AddrPort) net.Addr {
	if !a.IsValid() {
		return &net.UnixAddr{Net: "unix"}
	}
	return net.TCPAddrFromAddrPort(a)
}
