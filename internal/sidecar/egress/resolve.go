package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"

	"firma/internal/verdict"
)

// resolve asks for host as a rooted name: with a search suffix the name dialled
// would differ from the name judged.
func (d *Dialer) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if isLocalhost(host) {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	}
	addrs, err := d.resolver.LookupNetIP(ctx, "ip", host+".")
	if err != nil {
		return nil, resolveError(ctx, host, err)
	}
	if len(addrs) == 0 {
		return nil, &Error{verdict.ConnectorFailure, "resolving " + host + " gave no address", nil}
	}
	return addrs, nil
}

// isLocalhost reports whether the name means this machine by definition (RFC 6761,
// section 6.3). No resolver is asked: some would forward the question, and a rooted
// "localhost." is not found in the hosts file.
func isLocalhost(host string) bool {
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

func resolveError(ctx context.Context, host string, err error) *Error {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return &Error{verdict.ConnectorFailure, "resolving " + host + " failed: no such name", err}
	case timedOut(ctx, err) || dns != nil && dns.IsTimeout:
		return &Error{verdict.ConnectorTimeout, "resolving " + host + " timed out", err}
	}
	return &Error{verdict.ConnectorFailure, "resolving " + host + " failed", err}
}
