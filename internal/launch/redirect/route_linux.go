package redirect

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// loopback is the index of lo, the first interface of every network namespace.
const loopback = 1

// route adds a local route (rtnetlink(7), ip-route(8) "local"): packets to p are
// for this namespace itself.
func (m *messages) route(p netip.Prefix) {
	family := byte(unix.AF_INET)
	if p.Addr().Is6() {
		family = unix.AF_INET6
	}
	m.begin("make "+p.String()+" local", unix.RTM_NEWROUTE, unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_REPLACE,
		family, byte(p.Bits()), 0, 0, // struct rtmsg: family, dst_len, src_len, tos
		unix.RT_TABLE_LOCAL, unix.RTPROT_BOOT, unix.RT_SCOPE_HOST, unix.RTN_LOCAL,
		0, 0, 0, 0) // flags
	m.attr(unix.RTA_DST, p.Addr().AsSlice()...)
	m.attr(unix.RTA_OIF, native.AppendUint32(nil, loopback)...)
	m.done()
}
