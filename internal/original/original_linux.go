// Package original tells where a connection was meant to go before nf_tables
// redirected it, from connection tracking in the network namespace of the
// accepted socket.
package original

import (
	"encoding/binary"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// soOriginalDst is SO_ORIGINAL_DST (linux/netfilter_ipv4.h) and, with the same
// number, IP6T_SO_ORIGINAL_DST.
const soOriginalDst = 80

// Destination returns the address that c's peer connected to. For a connection
// that was not redirected it is an error, or the local address.
func Destination(c syscall.Conn, v6 bool) (netip.AddrPort, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	var ap netip.AddrPort
	var gerr error
	if err := raw.Control(func(fd uintptr) {
		if v6 {
			ap, gerr = destination6(int(fd))
		} else {
			ap, gerr = destination4(int(fd))
		}
	}); err != nil {
		return netip.AddrPort{}, err
	}
	return ap, gerr
}

// destination4 reads a struct sockaddr_in, for which x/sys/unix has no call of its
// own; its 16 bytes fit in the 20 of a struct ipv6_mreq.
func destination4(fd int) (netip.AddrPort, error) {
	m, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, soOriginalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	b := m.Multiaddr
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:4])), nil
}

// destination6 reads a struct sockaddr_in6, with which a struct ip6_mtuinfo
// begins. The port is in network order.
func destination6(fd int) (netip.AddrPort, error) {
	m, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, soOriginalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, m.Addr.Port))
	return netip.AddrPortFrom(netip.AddrFrom16(m.Addr.Addr), port), nil
}
