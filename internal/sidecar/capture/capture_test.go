package capture

import (
	"net"
	"net/netip"
	"slices"
	"testing"
)

func destinations(literals ...string) *Destinations {
	cfg := Config{
		Names: func(a netip.Addr) (string, bool) {
			return "api.test", a == netip.MustParseAddr("198.18.0.1") || a == netip.MustParseAddr("fd66:6972:6d61::c612:1")
		},
		Synthetic: []netip.Prefix{netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("fd66:6972:6d61::/96")},
	}
	for _, l := range literals {
		cfg.Literals = append(cfg.Literals, netip.MustParseAddr(l))
	}
	return New(cfg)
}

// TestOf: what the launcher tells of a connection is looked up as what the kernel
// tells.
func TestOf(t *testing.T) {
	d := destinations("203.0.113.7", "2001:db8::7", "127.0.0.1", "fe80::1")
	for _, c := range []struct {
		to, host string // host "": refused
	}{
		{"198.18.0.1:443", "api.test"},
		{"[fd66:6972:6d61::c612:1]:5432", "api.test"},
		{"[::ffff:198.18.0.1]:443", "api.test"},
		{"198.18.0.2:443", ""},
		{"198.19.255.255:1", ""},
		{"[fd66:6972:6d61::1]:443", ""},
		{"203.0.113.7:22", "203.0.113.7"},
		{"[2001:db8::7]:22", "2001:db8::7"},
		{"203.0.113.8:22", ""},
		{"127.0.0.1:18081", ""}, // the listener itself
		{"[::1]:18081", ""},
		{"[fe80::1]:80", ""},
		{"0.0.0.0:0", ""},
	} {
		conn, other := net.Pipe()
		to := netip.MustParseAddrPort(c.to)
		d.Told(conn, to)
		host, port, err := d.Of(conn)
		if host != c.host || (err == nil) != (c.host != "") || err == nil && port != to.Port() {
			t.Errorf("%s: %q %d %v, want %q", c.to, host, port, err, c.host)
		}
		if _, _, err := d.Of(conn); err == nil {
			t.Errorf("%s: what was told of one connection is told twice", c.to)
		}
		conn.Close()
		other.Close()
	}
}

// TestDirect: a connection that the kernel did not redirect has no destination.
func TestDirect(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		ln, err := net.Listen("tcp", at)
		if err != nil {
			t.Skip(err)
		}
		defer ln.Close()
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		got, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer got.Close()
		if host, port, err := destinations("203.0.113.7").Of(got); err == nil {
			t.Errorf("%s: %s:%d", at, host, port)
		}
	}
}

func TestPrefixes(t *testing.T) {
	d := destinations("203.0.113.7", "198.18.0.1", "127.0.0.1", "2001:db8::7", "::ffff:10.0.0.1")
	var got []string
	for _, p := range d.Prefixes() {
		got = append(got, p.String())
	}
	slices.Sort(got)
	want := []string{"10.0.0.1/32", "198.18.0.0/15", "2001:db8::7/128", "203.0.113.7/32", "fd66:6972:6d61::/96"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	d.cfg.Synthetic = d.cfg.Synthetic[:1]
	for _, p := range d.Prefixes() {
		if p.Addr().Is6() {
			t.Errorf("%s without IPv6", p)
		}
	}
}
