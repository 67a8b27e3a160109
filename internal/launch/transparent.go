//go:build linux

package launch

import (
	"errors"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"firma/internal/control"
	"firma/internal/fault"
	"firma/internal/launch/redirect"
)

// capturePort is where connections that were meant for somebody else arrive, on
// 127.0.0.1 and ::1 of the sandbox.
const capturePort = 18081

// noTransparent is a host on which connections can't be captured.
func noTransparent(err error) error {
	return fault.Wrap(err, "TransparentUnavailable", "connections of clients that ignore the proxy can't be led to the Sidecar on this host",
		"use a kernel with nf_tables and its NAT (`modprobe -a nf_tables nft_chain_nat nft_redir`; CONFIG_NF_TABLES, CONFIG_NFT_NAT, CONFIG_NFT_REDIR, CONFIG_NFT_CT), or set transparent = false in the profile: then only clients that know the proxy get out")
}

// ListenCapture binds the listeners of captured connections. Without IPv6 in the
// kernel there is one.
func ListenCapture(socks control.Sockets) error {
	for name, what := range map[control.Socket]string{control.SocketCapture: "IPv4", control.SocketRoute: "routing netlink", control.SocketNetfilter: "netfilter netlink"} {
		if socks[name] == nil {
			return noTransparent(errors.New("the kernel gives the sandbox no socket of " + what))
		}
	}
	if err := bindOne(socks[control.SocketCapture], &unix.SockaddrInet4{Port: capturePort, Addr: [4]byte{127, 0, 0, 1}}, true); err != nil {
		return noTransparent(err)
	}
	six := socks[control.SocketCapture6]
	if six == nil {
		return nil
	}
	err := bindOne(six, &unix.SockaddrInet6{Port: capturePort, Addr: netip.IPv6Loopback().As16()}, true)
	if errors.Is(err, unix.EADDRNOTAVAIL) { // net.ipv6.conf.lo.disable_ipv6
		six.Close()
		delete(socks, control.SocketCapture6)
		return nil
	}
	if err != nil {
		return noTransparent(err)
	}
	return nil
}

// Redirect turns the sandbox's connections to the listeners of ListenCapture. Only
// those to addresses that Route made local get as far.
func Redirect(socks control.Sockets) error {
	port6 := uint16(0)
	if socks[control.SocketCapture6] != nil {
		port6 = capturePort
	}
	if err := redirect.Rules(socks[control.SocketNetfilter], capturePort, port6); err != nil {
		return noTransparent(err)
	}
	return nil
}

// Route makes addresses local to the sandbox.
func Route(socks control.Sockets, to []netip.Prefix) error {
	if err := redirect.Local(socks[control.SocketRoute], to); err != nil {
		return noTransparent(err)
	}
	return nil
}

// captures says whether a Sidecar that wants connections to these addresses takes
// those to names, which get theirs from a range. Without it names would lead
// nowhere, and the run's first event would claim otherwise.
func captures(wanted []netip.Prefix) bool {
	return slices.ContainsFunc(wanted, func(p netip.Prefix) bool { return p.Addr().Is4() && !p.IsSingleIP() })
}

func (r *run) noCapture() error {
	which := "the Sidecar"
	if r.opts.Sidecar != (Endpoint{}) {
		which += " at " + r.opts.Sidecar.String()
	}
	return fault.New("SidecarWithoutCapture", which+" does not take the connections of clients that ignore the proxy, although this run's record says so",
		"use a Sidecar of the same version as `firma run`, or set transparent = false in the profile: then only clients that know the proxy get out")
}
