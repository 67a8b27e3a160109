package egress

import "net/netip"

// Class is what kind of destination an address is. Every address has exactly
// one; the zero value is Invalid and never passes.
type Class uint8

// The classes. Only Public passes without being allowed by configuration.
const (
	Invalid       Class = iota
	Public              // globally routable unicast
	Unspecified         // 0.0.0.0/8 and ::, which reach the host itself
	Loopback            // 127.0.0.0/8, ::1
	Private             // RFC 1918
	CGNAT               // 100.64.0.0/10
	LinkLocal           // 169.254.0.0/16, fe80::/10, any address with a zone
	Metadata            // instance metadata of a cloud, in any embedding
	ULA                 // fc00::/7
	SiteLocal           // fec0::/10
	Multicast           // 224.0.0.0/4, ff00::/8 and 255.255.255.255
	Benchmark           // 198.18.0.0/15, 2001:2::/48; the resolver's synthetic range
	Documentation       // TEST-NETs, 2001:db8::/32, 3fff::/20
	Reserved            // everything else the IANA registries keep back
	V4Compatible        // ::/96, and ::ffff:0:0:0/96 of RFC 2765
	NAT64               // 64:ff9b::/96 around a non-public IPv4 address
	NAT64Local          // 64:ff9b:1::/48
	SixToFour           // 2002::/16
	Teredo              // 2001::/32
	ISATAP              // an interface identifier that embeds an IPv4 address
)

var classNames = [...]string{
	Invalid: "invalid", Public: "public", Unspecified: "unspecified", Loopback: "loopback",
	Private: "private", CGNAT: "carrier-grade NAT", LinkLocal: "link-local", Metadata: "cloud metadata",
	ULA: "unique-local", SiteLocal: "site-local", Multicast: "multicast", Benchmark: "benchmark",
	Documentation: "documentation", Reserved: "reserved", V4Compatible: "IPv4-compatible", NAT64: "NAT64",
	NAT64Local: "local NAT64", SixToFour: "6to4", Teredo: "Teredo", ISATAP: "ISATAP",
}

func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return classNames[Invalid]
}

// undialable reports whether no configuration may permit the class.
func undialable(c Class) bool { return c == Invalid || c == Unspecified || c == Multicast }

// Classify puts addr in its class. An IPv4-mapped address is the IPv4 address it
// maps: the kernel connects to the same place. An address that embeds an IPv4
// address in another way is Public only as 64:ff9b::/96 around a public one,
// which is how an IPv6-only host reaches IPv4.
func Classify(addr netip.Addr) Class {
	addr = addr.Unmap()
	switch {
	case !addr.IsValid():
		return Invalid
	case addr.Zone() != "":
		return LinkLocal
	case addr.Is4():
		return classify4(addr)
	}
	if metadataAddrs().has(addr) {
		return Metadata
	}
	return embedded(addr, classify6(addr))
}

func classify4(addr netip.Addr) Class {
	if metadataAddrs().has(addr) {
		return Metadata
	}
	return lookup(ranges4(), addr, Public)
}

// classify6 classes by range alone. Only 2000::/3 is allocated to global unicast.
func classify6(addr netip.Addr) Class {
	fallback := Reserved
	if addr.As16()[0]>>5 == 1 {
		fallback = Public
	}
	return lookup(ranges6(), addr, fallback)
}
