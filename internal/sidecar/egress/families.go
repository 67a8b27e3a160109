package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

// patience is how long a name's other family is waited for once one has addresses.
// RFC 8305 section 3 says 50 ms; more keeps both in play with slow resolvers.
const patience = 250 * time.Millisecond

// families asks for IPv6 and IPv4 addresses at once and does not let one that is
// never answered hold up the other: some resolvers drop questions for AAAA, and the
// time to give up on them is as long as a connection may take.
type families struct{ Resolver }

func (f families) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan answer, 2)
	for _, network := range []string{"ip6", "ip4"} {
		go func() {
			addrs, err := f.Resolver.LookupNetIP(ctx, network, host)
			answers <- answer{addrs, err}
		}()
	}
	first := <-answers
	if len(first.addrs) == 0 {
		second := <-answers
		if len(second.addrs) > 0 {
			return second.addrs, nil
		}
		return nil, worse(first.err, second.err)
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case second := <-answers:
		return append(first.addrs, second.addrs...), nil
	case <-timer.C:
		return first.addrs, nil
	}
}

type answer struct {
	addrs []netip.Addr
	err   error
}

// worse returns the error that says more: that a name has no address of one family is
// no news while the question for the other one failed.
func worse(a, b error) error {
	if weight(b) > weight(a) {
		return b
	}
	return a
}

func weight(err error) int {
	var addr *net.AddrError // in the hosts file, with the other family only
	var dns *net.DNSError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &addr):
		return 1
	case errors.As(err, &dns) && dns.IsNotFound:
		return 2
	}
	return 3
}
