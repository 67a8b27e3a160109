package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"firma/internal/verdict"
)

// resolve asks for host as a rooted name: with a search suffix the name dialled
// would differ from the name judged.
func (d *Dialer) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	addrs, err := d.resolver.LookupNetIP(ctx, "ip", host+".")
	if err != nil {
		return nil, resolveError(ctx, host, err)
	}
	if len(addrs) == 0 {
		return nil, &Error{verdict.ConnectorFailure, "resolving " + host + " gave no address", nil}
	}
	return addrs, nil
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
