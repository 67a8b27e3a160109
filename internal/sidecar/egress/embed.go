package egress

import "net/netip"

// embedded refines class c of an IPv6 address by the IPv4 address it carries, if
// its form carries one. Carrying a metadata address makes it Metadata, whatever
// the form.
func embedded(addr netip.Addr, c Class) Class {
	b := addr.As16()
	switch c {
	case V4Compatible, NAT64Local:
		return carrying(c, b[12:])
	case NAT64:
		if Classify(netip.AddrFrom4([4]byte(b[12:]))) == Public {
			return Public
		}
		return carrying(c, b[12:])
	case SixToFour:
		return carrying(c, b[2:6])
	case Teredo:
		return carrying(carrying(c, b[4:8]), []byte{^b[12], ^b[13], ^b[14], ^b[15]})
	case Public, ULA, LinkLocal:
		return isatap(b, c)
	}
	return c
}

// isatap recognises interface identifiers 0000:5efe:a.b.c.d and 0200:5efe:a.b.c.d
// (RFC 5214), which a router on the path may tunnel to that IPv4 address.
func isatap(b [16]byte, c Class) Class {
	if b[8]&^2 != 0 || b[9] != 0 || b[10] != 0x5e || b[11] != 0xfe {
		return c
	}
	if c == Public {
		c = ISATAP
	}
	return carrying(c, b[12:])
}

func carrying(c Class, v4 []byte) Class {
	if c == Metadata || metadataAddrs().has(netip.AddrFrom4([4]byte(v4))) {
		return Metadata
	}
	return c
}
