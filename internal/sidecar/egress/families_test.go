package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
)

type answering func(ctx context.Context, network string) ([]netip.Addr, error)

func (a answering) LookupNetIP(ctx context.Context, network, _ string) ([]netip.Addr, error) {
	return a(ctx, network)
}

// fixed answers each family with addresses or an error; neither is no answer until
// the question is given up.
func fixed(six, four any) families {
	return families{answering(func(ctx context.Context, network string) ([]netip.Addr, error) {
		a := four
		if network == "ip6" {
			a = six
		}
		switch a := a.(type) {
		case string:
			return []netip.Addr{netip.MustParseAddr(a)}, nil
		case error:
			return nil, a
		}
		<-ctx.Done()
		return nil, ctx.Err()
	})}
}

// TestFamilies: one family that is never answered does not hold up the other.
func TestFamilies(t *testing.T) {
	noSuch, lost, other := &net.DNSError{IsNotFound: true}, &net.DNSError{IsTimeout: true}, &net.AddrError{}
	for _, tt := range []struct {
		name      string
		six, four any
		want      []string
		err       error
	}{
		{name: "IPv6 unanswered", four: "192.0.2.1", want: []string{"192.0.2.1"}},
		{name: "IPv4 unanswered", six: "2001:db8::1", want: []string{"2001:db8::1"}},
		{name: "both", six: "2001:db8::1", four: "192.0.2.1", want: []string{"192.0.2.1", "2001:db8::1"}},
		{name: "IPv6 fails", six: lost, four: "192.0.2.1", want: []string{"192.0.2.1"}},
		{name: "IPv4 is not there", six: "2001:db8::1", four: noSuch, want: []string{"2001:db8::1"}},
		{name: "no such name", six: noSuch, four: noSuch, err: noSuch},
		{name: "none of one, the other fails", six: noSuch, four: lost, err: lost},
		{name: "one fails, none of the other", six: lost, four: noSuch, err: lost},
		{name: "hosts file", six: other, four: lost, err: lost},
	} {
		synctest.Test(t, func(t *testing.T) {
			addrs, err := fixed(tt.six, tt.four).LookupNetIP(t.Context(), "ip", "a.example.com.")
			var got []string
			for _, a := range addrs {
				got = append(got, a.String())
			}
			slices.Sort(got)
			if !slices.Equal(got, tt.want) || !errors.Is(err, tt.err) {
				t.Errorf("%s: %v, %v; want %v, %v", tt.name, got, err, tt.want, tt.err)
			}
		})
	}
}

// TestFamiliesGivenUp: a question that is given up ends, answered or not.
func TestFamiliesGivenUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if addrs, err := fixed(nil, nil).LookupNetIP(ctx, "ip", "a.example.com."); len(addrs) > 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", addrs, err)
	}
}
