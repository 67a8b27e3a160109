package intent

import (
	"strconv"
	"strings"
)

// splitAuthority splits "host[:port]" and "[address][:port]" (RFC 3986, section
// 3.2). port is 0 when none is written. The host is not judged here, except that
// an address with colons must be in brackets.
func splitAuthority(s string) (host string, port uint16, err error) {
	if strings.IndexByte(s, '@') >= 0 {
		return "", 0, refuse("the authority carries user information")
	}
	i := strings.LastIndexByte(s, ':')
	if strings.HasSuffix(s, "]") {
		i = -1 // the colon is inside the brackets
	}
	if i < 0 {
		return s, 0, bracketed(s)
	}
	if port, err = parsePort(s[i+1:]); err != nil {
		return "", 0, err
	}
	return s[:i], port, bracketed(s[:i])
}

func bracketed(host string) error {
	if strings.HasPrefix(host, "[") {
		if !strings.HasSuffix(host, "]") {
			return refuse("the host has an unmatched bracket")
		}
		return nil
	}
	if strings.IndexByte(host, ':') >= 0 {
		return refuse("an IPv6 address must be in brackets")
	}
	return nil
}

// parsePort accepts 1 to 65535 in plain decimal. A leading zero or a sign is
// refused: parsers differ on them.
func parsePort(s string) (uint16, error) {
	if s == "" || s[0] < '1' || s[0] > '9' || len(s) > 5 {
		return 0, refuse("the port is not a number from 1 to 65535")
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, refuse("the port is not a number from 1 to 65535")
	}
	return uint16(n), nil
}

// SplitHostPort splits "host", "host:port" and "[address]:port" as they stand in
// a rule or on the command line and returns the host in canonical form. port is 0
// when none is written. A bare IPv6 address is accepted without brackets. Every
// error is an *Error.
func SplitHostPort(s string) (host string, port uint16, err error) {
	if strings.Count(s, ":") > 1 && !strings.HasPrefix(s, "[") {
		host, _, err = CanonicalHost(s)
		return host, 0, err
	}
	if host, port, err = splitAuthority(s); err != nil {
		return "", 0, err
	}
	host, _, err = CanonicalHost(host)
	return host, port, err
}

// HostKey returns the key under which rules name a destination: the canonical
// host, with the port appended unless it is 0, 80 or 443.
func HostKey(host string, port uint16) string {
	if port == 0 || port == 80 || port == 443 {
		return host
	}
	return joinPort(host, port)
}

// HostKey returns the key under which mapping rules name c's destination. It
// allocates only for a port other than 80 and 443.
func (c *Call) HostKey() string { return HostKey(c.Host, c.Port) }

// HostPort returns the authority to send upstream: the default port of the
// transport is left out, IPv6 is in brackets. A tunnel always has its port.
func (c *Call) HostPort() string {
	if c.Transport == HTTP && c.Port == 80 || c.Transport == HTTPS && c.Port == 443 {
		if strings.IndexByte(c.Host, ':') < 0 {
			return c.Host
		}
		return "[" + c.Host + "]"
	}
	return joinPort(c.Host, c.Port)
}

func joinPort(host string, port uint16) string {
	b := make([]byte, 0, len(host)+8)
	if strings.IndexByte(host, ':') >= 0 {
		b = append(append(append(b, '['), host...), ']')
	} else {
		b = append(b, host...)
	}
	return string(strconv.AppendUint(append(b, ':'), uint64(port), 10))
}
