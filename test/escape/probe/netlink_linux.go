package main

import (
	"encoding/binary"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// routeLocal is PREFIX: make addresses local, as the launcher does.
func routeLocal(args []string) (string, error) {
	return route(args, unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
}

// routeDelete is PREFIX: make local addresses unreachable.
func routeDelete(args []string) (string, error) {
	if _, err := routeLocal(args); err == nil { // only where the namespace is one's own
		return route(args, unix.RTM_DELROUTE, 0)
	}
	return route(args, unix.RTM_DELROUTE, 0)
}

func route(args []string, typ, flags uint16) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	p, err := netip.ParsePrefix(args[0])
	if err != nil {
		return "", err
	}
	family := byte(unix.AF_INET)
	if p.Addr().Is6() {
		family = unix.AF_INET6
	}
	// struct rtmsg, then RTA_DST and RTA_OIF (rtnetlink(7)).
	body := []byte{family, byte(p.Bits()), 0, 0, unix.RT_TABLE_LOCAL, unix.RTPROT_BOOT, unix.RT_SCOPE_HOST, unix.RTN_LOCAL, 0, 0, 0, 0}
	body = attribute(body, unix.RTA_DST, p.Addr().AsSlice())
	body = attribute(body, unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, 1))
	return "", ordered(unix.NETLINK_ROUTE, netlinkMessage(typ, flags|unix.NLM_F_ACK, body))
}

// flushRules deletes every table of nf_tables.
func flushRules([]string) (string, error) {
	generic := []byte{unix.NFPROTO_UNSPEC, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES} // struct nfgenmsg
	b := netlinkMessage(unix.NFNL_MSG_BATCH_BEGIN, 0, generic)
	b = append(b, netlinkMessage(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_DELTABLE, unix.NLM_F_ACK, []byte{unix.NFPROTO_UNSPEC, unix.NFNETLINK_V0, 0, 0})...)
	b = append(b, netlinkMessage(unix.NFNL_MSG_BATCH_END, 0, generic)...)
	return "", ordered(unix.NETLINK_NETFILTER, b)
}

func netlinkMessage(typ, flags uint16, body []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(body)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, flags|unix.NLM_F_REQUEST)
	b = append(b, 1, 0, 0, 0, 0, 0, 0, 0) // sequence, port
	return append(b, body...)
}

func attribute(b []byte, typ uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, value...)
	return append(b, make([]byte, -len(value)&3)...)
}

// ordered sends b and returns what the kernel answers to it.
func ordered(protocol int, b []byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := deadlines(fd, 3*time.Second); err != nil {
		return err
	}
	if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil {
		return err
	}
	if n < unix.NLMSG_HDRLEN+4 || binary.NativeEndian.Uint16(buf[4:]) != unix.NLMSG_ERROR {
		return &no{"no acknowledgement"}
	}
	if code := int32(binary.NativeEndian.Uint32(buf[unix.NLMSG_HDRLEN:])); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}
