// Package capture names the destinations of connections that were led to the
// Sidecar although they were meant for somebody else: a synthetic address stands
// for the name it was given out for, and a literal one for itself if a rule names
// it. Everything else was not captured, whatever its peer claims.
package capture

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"firma/internal/original"
)

// Config is what New needs.
type Config struct {
	// Names returns the name that a synthetic address was given out for.
	Names func(netip.Addr) (name string, ok bool)
	// Synthetic are the ranges of such addresses, IPv4 and, if IPv6 is captured,
	// IPv6.
	Synthetic []netip.Prefix
	// Literals are the addresses that rules name.
	Literals []netip.Addr
}

// Destinations knows where the connections of one session were meant to go. It is
// safe for concurrent use.
type Destinations struct {
	cfg      Config
	literals map[netip.Addr]bool
	told     sync.Map // net.Conn → netip.AddrPort
}

// New leaves out literals that can't be captured: a sandbox's loopback is its own.
func New(cfg Config) *Destinations {
	d := &Destinations{cfg: cfg, literals: map[netip.Addr]bool{}}
	for _, a := range cfg.Literals {
		if a = a.Unmap(); capturable(a) {
			d.literals[a] = true
		}
	}
	return d
}

func capturable(a netip.Addr) bool {
	return a.IsValid() && a.Zone() == "" && !a.IsLoopback() && !a.IsUnspecified() && !a.IsMulticast() &&
		!a.IsLinkLocalUnicast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// Prefixes are the addresses whose connections are wanted.
func (d *Destinations) Prefixes() []netip.Prefix {
	out := append([]netip.Prefix{}, d.cfg.Synthetic...)
	v6 := false
	for _, p := range d.cfg.Synthetic {
		v6 = v6 || p.Addr().Is6()
	}
	for a := range d.literals {
		if (a.Is4() || v6) && !d.synthetic(a) {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return out
}

// Told keeps what the launcher says of a connection that it relays, until Of is
// asked about it.
func (d *Destinations) Told(c net.Conn, to netip.AddrPort) { d.told.Store(c, to) }

// Forget drops what was told of a connection about which nobody will ask.
func (d *Destinations) Forget(c net.Conn) { d.told.Delete(c) }

var errNotCaptured = errors.New("it was not captured: no name or rule leads there")

// Of returns the destination of c: a name or an address in canonical form, and a
// port.
func (d *Destinations) Of(c net.Conn) (host string, port uint16, err error) {
	to, err := d.meant(c)
	if err != nil {
		return "", 0, err
	}
	addr := to.Addr().Unmap()
	if d.synthetic(addr) {
		name, ok := d.cfg.Names(addr)
		if !ok {
			return "", 0, fmt.Errorf("%s was given out for no name", addr)
		}
		return name, to.Port(), nil
	}
	if !d.literals[addr] {
		return "", 0, errNotCaptured
	}
	return addr.String(), to.Port(), nil
}

func (d *Destinations) meant(c net.Conn) (netip.AddrPort, error) {
	if to, ok := d.told.LoadAndDelete(c); ok {
		return to.(netip.AddrPort), nil
	}
	local, ok := c.LocalAddr().(*net.TCPAddr)
	sock, ok2 := c.(syscall.Conn)
	if !ok || !ok2 {
		return netip.AddrPort{}, errNotCaptured
	}
	return original.Destination(sock, local.IP.To4() == nil)
}

func (d *Destinations) synthetic(a netip.Addr) bool {
	for _, p := range d.cfg.Synthetic {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
