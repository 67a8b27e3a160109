package intent

import (
	"encoding/binary"
	"net/netip"
	"strings"
)

// canonicalIPv6 reads an IPv6 address with or without brackets. An IPv4-mapped one
// is the IPv4 address: a kernel connects to the same place. Others that carry an
// IPv4 address (NAT64, 6to4) lead through a translator and stay what they are: the
// dialler classes them.
func canonicalIPv6(s string) (string, netip.Addr, error) {
	if strings.HasPrefix(s, "[") {
		if !strings.HasSuffix(s, "]") {
			return "", netip.Addr{}, refuse("the host has an unmatched bracket")
		}
		s = s[1 : len(s)-1]
	}
	if strings.IndexByte(s, '%') >= 0 {
		return "", netip.Addr{}, refuse("the address has a zone")
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || !addr.Is6() {
		return "", netip.Addr{}, refuse("the host is not a valid IPv6 address")
	}
	addr = addr.Unmap()
	return spell(addr, s), addr, nil
}

// canonicalIPv4 reads a host that ends in a number as the URL standard's IPv4
// parser does, which accepts what inet_aton accepts: one to four parts, each in
// decimal, octal (leading 0) or hexadecimal (leading 0x), the last one filling
// the bytes that are left. host is lower case and has no trailing dot.
func canonicalIPv4(host string) (string, netip.Addr, error) {
	var value uint64
	rest, parts := host, 0
	for more := true; more; parts++ {
		var part string
		part, rest, more = strings.Cut(rest, ".")
		n, ok := ipv4Number(part)
		limit := uint64(256)
		if !more && parts < 4 {
			limit = 1 << (8 * (4 - parts))
		}
		if !ok || parts == 4 || n >= limit {
			return "", netip.Addr{}, refuse("the host ends in a number and is no IPv4 address")
		}
		if more {
			value |= n << (8 * (3 - parts))
		} else {
			value |= n
		}
	}
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(value))
	addr := netip.AddrFrom4(b)
	return spell(addr, host), addr, nil
}

// endsInNumber reports whether the last label of a lower-case host is digits
// only or a number in the sense of ipv4Number: then it must be an address.
func endsInNumber(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if strings.Trim(last, "0123456789") == "" {
		return true
	}
	return strings.HasPrefix(last, "0x") && strings.Trim(last[2:], "0123456789abcdef") == ""
}

// ipv4Number reads one part; "0x" alone is zero, as in the URL standard. Values
// beyond 32 bits are not numbers here: no part may hold them.
func ipv4Number(s string) (n uint64, ok bool) {
	base := uint64(10)
	switch {
	case s == "":
		return 0, false
	case strings.HasPrefix(s, "0x"):
		base, s = 16, s[2:]
	case s[0] == '0':
		base = 8
	}
	for i := 0; i < len(s); i++ {
		d, ok := hexValue(s[i])
		if !ok || uint64(d) >= base {
			return 0, false
		}
		if n = n*base + uint64(d); n > 1<<32 {
			return 0, false
		}
	}
	return n, true
}

// spell returns addr's canonical text, and s itself when it is that text already.
func spell(addr netip.Addr, s string) string {
	var b [48]byte
	if t := addr.AppendTo(b[:0]); string(t) != s {
		return string(t)
	}
	return s
}

func hexValue(b byte) (byte, bool) {
	switch {
	case '0' <= b && b <= '9':
		return b - '0', true
	case 'a' <= b && b <= 'f':
		return b - 'a' + 10, true
	case 'A' <= b && b <= 'F':
		return b - 'A' + 10, true
	}
	return 0, false
}
