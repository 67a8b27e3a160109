package egress

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"firma/internal/verdict"
)

// TestLocalhost: the name is this machine, whatever a resolver would say.
func TestLocalhost(t *testing.T) {
	public := &answers{lists: [][]string{{"93.184.216.34"}}}
	d := dialer(t, Config{Resolver: public})
	for _, host := range []string{"localhost", "x.localhost"} {
		var refused *Error
		if _, err := d.Dial(context.Background(), host, 80); !errors.As(err, &refused) || refused.Reason != verdict.DestinationForbidden {
			t.Errorf("%s: %v, want DestinationForbidden", host, err)
		}
	}
	if len(public.names) != 0 {
		t.Errorf("the resolver was asked for %q", public.names)
	}
	at, _ := listen(t, "127.0.0.1:0")
	d = dialer(t, Config{Allowed: prefixes("127.0.0.1/32", "::1/128")})
	c, err := d.Dial(context.Background(), "localhost", at.Port())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// TestOursEverywhere: a listener at every address of the host is firma's at each, and
// that of another host with its port is not.
func TestOursEverywhere(t *testing.T) {
	d, err := New(Config{
		Allowed:   []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
		Forbidden: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:8080")},
		OwnAddrs:  func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string]bool{
		"127.0.0.1:8080": true, "127.0.0.9:8080": true, "[::1]:8080": true, "192.0.2.1:8080": true, "[::ffff:192.0.2.1]:8080": true,
		"127.0.0.1:8081": false, "192.0.2.2:8080": false,
	} {
		ap := netip.MustParseAddrPort(to)
		if got := d.CheckLiteral(ap.Addr(), ap.Port()) != nil; got != want {
			t.Errorf("%s: refused %v", to, got)
		}
	}
}
