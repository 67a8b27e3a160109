package intent

import (
	"net/netip"
	"strings"
)

const (
	maxHost  = 253 // bytes of a name without its trailing dot (RFC 1035, section 2.3.4)
	maxLabel = 63
)

// CanonicalHost returns the one spelling of a host: lower-case ASCII without the
// trailing dot, names beyond ASCII in their xn-- form (IDNA 2008 by UTS #46),
// addresses as netip writes them. addr is valid when the host is an address, in
// any spelling that curl, glibc's inet_aton or the URL standard accept: decimal,
// octal, hexadecimal, fewer than four parts, with a trailing dot, in full-width
// digits. IPv6 may stand in brackets or without; an IPv4-mapped address is the
// IPv4 address. A host that ends in a number
// and is no address, a zone id, and anything that is not a host name are refused
// with an *Error. It does not allocate for a host that is canonical ASCII.
func CanonicalHost(s string) (host string, addr netip.Addr, err error) {
	if strings.IndexByte(s, ':') >= 0 || strings.HasPrefix(s, "[") {
		return canonicalIPv6(s)
	}
	if host, err = toASCII(s); err != nil {
		return "", netip.Addr{}, err
	}
	host = strings.TrimSuffix(host, ".") // one only: "a.." has an empty label
	puny, err := checkName(host)
	if err != nil {
		return "", netip.Addr{}, err
	}
	if puny {
		if err = checkPuny(host); err != nil {
			return "", netip.Addr{}, err
		}
	}
	if endsInNumber(host) {
		return canonicalIPv4(host)
	}
	return host, netip.Addr{}, nil
}

// toASCII lower-cases ASCII and hands everything else to IDNA. What comes back
// is judged afterwards like any other input: full-width digits, dots and slashes
// have become plain ones by then.
func toASCII(s string) (string, error) {
	upper := false
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return idnaToASCII(s)
		}
		upper = upper || 'A' <= s[i] && s[i] <= 'Z'
	}
	if upper {
		return strings.ToLower(s), nil
	}
	return s, nil
}

// checkName verifies the letters, digits, hyphens and underscores of a name and
// the length of its labels. puny reports an xn-- label.
func checkName(s string) (puny bool, err error) {
	if s == "" {
		return false, refuse("the host is empty")
	}
	if len(s) > maxHost {
		return false, refuse("the host is longer than 253 bytes")
	}
	for start, i := 0, 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '.' {
			if !isNameByte(s[i]) {
				return false, refuse("the host has a character that names do not have")
			}
			continue
		}
		label := s[start:i]
		if err := checkLabel(label); err != nil {
			return false, err
		}
		puny = puny || strings.HasPrefix(label, "xn--")
		start = i + 1
	}
	return puny, nil
}

func checkLabel(l string) error {
	switch {
	case l == "":
		return refuse("the host has an empty label")
	case len(l) > maxLabel:
		return refuse("the host has a label longer than 63 bytes")
	case l[0] == '-' || l[len(l)-1] == '-':
		return refuse("the host has a label that starts or ends with a hyphen")
	}
	return nil
}

func isNameByte(b byte) bool {
	return 'a' <= b && b <= 'z' || '0' <= b && b <= '9' || b == '-' || b == '_'
}
