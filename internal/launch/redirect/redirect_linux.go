// Package redirect leads the TCP connections of a sandbox's network namespace to
// one listener there. It gives orders over netlink sockets that were made in that
// namespace: the kernel asks who sends an order, and the launcher owns the
// namespace, so no process inside needs a right to it, or has one.
//
// Two things make a connection arrive: its address must be local to the namespace
// (Local), or there is no route and connect(2) fails at once; and a rule of nf_tables
// (Rules) turns every connection that is not for loopback to the listener, which
// learns the address from connection tracking (SO_ORIGINAL_DST).
package redirect

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Rules turns every TCP connection that a process of the namespace opens to an
// address other than loopback's to the given ports of 127.0.0.1 and ::1; port6 0
// leaves IPv6 alone. The rules act on what is sent out, before any listener inside
// is looked for, so nobody inside can take the listener's place.
func Rules(netfilter *os.File, port4, port6 uint16) error {
	b := newBatch()
	b.rules(unix.NFPROTO_IPV4, ipv4, port4)
	if port6 != 0 {
		b.rules(unix.NFPROTO_IPV6, ipv6, port6)
	}
	b.end()
	return order(netfilter, &b.messages)
}

// Local makes addresses local to the namespace. Loopback's stay what they are and
// can't be among them.
func Local(route *os.File, prefixes []netip.Prefix) error {
	for len(prefixes) > 0 {
		n := min(len(prefixes), routesAtOnce)
		var m messages
		for _, p := range prefixes[:n] {
			if err := Check(p); err != nil {
				return err
			}
			m.route(p)
		}
		if err := order(route, &m); err != nil {
			return err
		}
		prefixes = prefixes[n:]
	}
	return nil
}

// routesAtOnce bounds what one message holds, and its answers.
const routesAtOnce = 64

// Check returns an error for addresses whose connections must not be redirected,
// or can't be: loopback, link-local and multicast addresses, and no address.
func Check(p netip.Prefix) error {
	a := p.Addr()
	switch {
	case !p.IsValid() || p != p.Masked() || a.Is4In6() || a.Zone() != "":
		return fmt.Errorf("%s is not a prefix", p)
	case a.Is4() && p.Bits() < 8, a.Is6() && p.Bits() < 32:
		return fmt.Errorf("%s is too wide", p)
	case a.IsLoopback(), a.IsUnspecified(), a.IsMulticast(), a.IsLinkLocalUnicast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("connections to %s can't be redirected", p)
	}
	return nil
}
