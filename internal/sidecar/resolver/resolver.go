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
	return &Resolver{cfg: cfg, names: newTable(cfg.Range.Masked()), slots: make(chan struct{}, maxRefusals)}, nil
}

// Lookup returns the name a synthetic address was given out for.
func (r *Resolver) Lookup(addr netip.Addr) (name string, ok bool) { return r.names.name(addr.Unmap()) }
