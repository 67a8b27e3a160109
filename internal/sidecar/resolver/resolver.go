// Package resolver is the sandbox's DNS server. It answers names that a rule can
// route with a synthetic address, refuses every other name, and never asks
// another resolver: no label of a query leaves the Sidecar.
package resolver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"
)

// Defaults of Config.
const (
	DefaultRange = "198.18.0.0/15"
	DefaultTTL   = 60 * time.Second

	// CaptureRange6 is a Range6 of unique local addresses (RFC 4193), which clients
	// try after IPv4 ones where both are offered (RFC 6724).
	CaptureRange6 = "fd66:6972:6d61::/96"
)

// maxRefusals bounds the refusals being audited at once. Beyond it the UDP
// reader waits, and the kernel's socket buffer pushes back on the sandbox.
const maxRefusals = 256

// Config is what New needs.
type Config struct {
	// Routable reports whether a rule covers a canonical name. It must be fast
	// and must not block: it runs on the reading goroutine.
	Routable func(host string) bool
	// Refused records the refusal of a name before the refusal is answered. It
	// is called for every refused query, never coalesced, possibly concurrently,
	// and may block. name is printable ASCII without a trailing dot, qtype is
	// like "A" or "TYPE4711".
	Refused func(ctx context.Context, name, qtype string)
	// Range holds the synthetic addresses: an IPv4 prefix of at most 30 bits,
	// DefaultRange if zero. Its first address is never given out.
	Range netip.Prefix
	// Range6 holds the synthetic IPv6 addresses: a prefix of 96 bits, the rest is
	// the name's IPv4 address. Zero: no name has an IPv6 address.
	Range6 netip.Prefix
	// TTL of positive answers, DefaultTTL if 0.
	TTL time.Duration
	Log *slog.Logger
}

// Resolver serves any number of sockets of one session. It is safe for
// concurrent use.
type Resolver struct {
	cfg   Config
	names *table
	slots chan struct{}
}

// New checks the configuration.
func New(cfg Config) (*Resolver, error) {
	if cfg.Routable == nil || cfg.Refused == nil {
		return nil, errors.New("resolver: Routable and Refused are required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.TTL <= 0 {
		cfg.TTL = DefaultTTL
	}
	if !cfg.Range.IsValid() {
		cfg.Range = netip.MustParsePrefix(DefaultRange)
	}
	if !cfg.Range.Addr().Is4() || cfg.Range.Bits() > 30 {
		return nil, fmt.Errorf("resolver: synthetic range %s is not an IPv4 prefix of at most 30 bits", cfg.Range)
	}
	if cfg.Range6.IsValid() && (cfg.Range6.Bits() != 96 || !cfg.Range6.Addr().Is6()) {
		return nil, fmt.Errorf("resolver: synthetic range %s is not an IPv6 prefix of 96 bits", cfg.Range6)
	}
	cfg.Range, cfg.Range6 = cfg.Range.Masked(), cfg.Range6.Masked()
	return &Resolver{cfg: cfg, names: newTable(cfg.Range), slots: make(chan struct{}, maxRefusals)}, nil
}

// Lookup returns the name a synthetic address was given out for.
func (r *Resolver) Lookup(addr netip.Addr) (name string, ok bool) {
	addr = addr.Unmap()
	if r.cfg.Range6.Contains(addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	return r.names.name(addr)
}

// Ranges are the ranges of the synthetic addresses.
func (r *Resolver) Ranges() []netip.Prefix {
	if r.cfg.Range6.IsValid() {
		return []netip.Prefix{r.cfg.Range, r.cfg.Range6}
	}
	return []netip.Prefix{r.cfg.Range}
}

// address6 is the IPv6 address of the name that has the IPv4 address a.
func (r *Resolver) address6(a [4]byte) [16]byte {
	b := r.cfg.Range6.Addr().As16()
	copy(b[12:], a[:])
	return b
}
