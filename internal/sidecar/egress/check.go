package egress

import (
	"net/netip"
	"strings"
)

// CheckLiteral says whether an address that the agent wrote itself may be
// dialled; nil if so. It does no I/O on the network.
func (d *Dialer) CheckLiteral(addr netip.Addr, port uint16) *Error {
	if o, ok := d.hosts[addr.Unmap().String()]; ok {
		if _, err := d.override(addr.String(), port, o); err == nil {
			return nil
		}
	}
	return d.check(addr, port, "")
}

// CheckName refuses the names of metadata services that have no Hosts entry; nil
// for every other canonical name. It resolves nothing.
func (d *Dialer) CheckName(host string) *Error {
	if _, ok := d.hosts[host]; ok {
		return nil
	}
	for _, m := range metadataNames {
		if host == m || strings.HasSuffix(host, "."+m) {
			return forbidden("%s is a cloud metadata service; only an entry for this host in [sidecar.egress] permits it", host)
		}
	}
	return nil
}

// check applies the rules to one address; name is the name it came from, or "".
func (d *Dialer) check(addr netip.Addr, port uint16, name string) *Error {
	addr = addr.Unmap()
	class := Classify(addr)
	switch {
	case port == 0:
		return forbidden("port 0 can't be dialled")
	case d.ours(netip.AddrPortFrom(addr, port)):
		return forbidden("%s is an endpoint of firma itself", describe(addr, name))
	case undialable(class):
		return forbidden("%s is %s address", describe(addr, name), article(class))
	case d.permits(addr, class):
		return nil
	case class != Public:
		return forbidden("%s is %s address, which [sidecar.egress] does not allow", describe(addr, name), article(class))
	}
	return d.checkOwn(addr, name)
}

// ours reports whether firma itself listens at to: there, or at every address of the
// host.
func (d *Dialer) ours(to netip.AddrPort) bool {
	if d.forbidden[to] {
		return true
	}
	everywhere := func(any netip.Addr) bool { return d.forbidden[netip.AddrPortFrom(any, to.Port())] }
	if !everywhere(netip.IPv4Unspecified()) && !everywhere(netip.IPv6Unspecified()) {
		return false
	}
	own, err := d.own.get()
	return to.Addr().IsLoopback() || err != nil || own.has(to.Addr())
}

func (d *Dialer) checkOwn(addr netip.Addr, name string) *Error {
	own, err := d.own.get()
	if err != nil {
		return forbidden("the host's own addresses can't be read, so %s can't be told from them", addr)
	}
	if own.has(addr) {
		return forbidden("%s is an address of this host, which [sidecar.egress] does not allow", describe(addr, name))
	}
	return nil
}

// permits reports whether Allowed holds addr. A metadata address must be listed
// alone, so that no convenient wide range opens it.
func (d *Dialer) permits(addr netip.Addr, class Class) bool {
	for _, p := range d.allowed {
		if p.Contains(addr) && (class != Metadata || p.IsSingleIP()) {
			return true
		}
	}
	return false
}

func describe(addr netip.Addr, name string) string {
	if name == "" {
		return addr.String()
	}
	return name + " resolves to " + addr.String() + ", which"
}

func article(c Class) string {
	switch c {
	case Unspecified, Invalid, ISATAP, V4Compatible:
		return "an " + c.String()
	}
	return "a " + c.String()
}
