// Package egress turns a name into an address, the address into a class and a
// permitted address into a connection. It is the only code of the Sidecar that
// dials a destination; it dials the very address it checked, never a name.
package egress

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"firma/internal/verdict"
)

// DefaultTimeout bounds one Dial: resolution and connection together.
const DefaultTimeout = 10 * time.Second

// maxTargets bounds how many addresses of one name are tried; all are checked.
const maxTargets = 16

// Resolver answers a rooted name ("host."), so that no search suffix of the host
// is ever appended. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Override is the operator's explicit address for one host.
type Override struct {
	Addr netip.Addr
	Port uint16 // 0 keeps the port of the request
}

// Config is what New needs. The zero value permits public addresses only.
type Config struct {
	// Allowed are ranges that pass although they are not public. A metadata
	// address passes only when it is listed by itself (/32 or /128); an
	// unspecified or multicast address never does.
	Allowed []netip.Prefix
	// Hosts maps a canonical host (intent.CanonicalHost) to its address. The
	// address is the operator's own choice, so its class is not questioned.
	Hosts map[string]Override
	// Forbidden are endpoints never dialled whatever Allowed and Hosts say:
	// firma's own listeners on the host.
	Forbidden []netip.AddrPort
	// Resolver defaults to the Go resolver over the host's configuration.
	Resolver Resolver
	// OwnAddrs lists the host's own addresses, which are refused even when they
	// are public; it defaults to the interfaces' addresses, read at most every
	// five seconds. An error refuses.
	OwnAddrs func() ([]netip.Addr, error)
	// Proxy is the network's own proxy that connections leave through, nil for none.
	Proxy *UpstreamProxy
	// Timeout is for one Dial, DefaultTimeout if 0.
	Timeout time.Duration
}

// Dialer checks and dials destinations. It is immutable and safe for concurrent
// use.
type Dialer struct {
	allowed   []netip.Prefix
	hosts     map[string]Override
	forbidden map[netip.AddrPort]bool
	resolver  Resolver
	own       *ownAddrs
	timeout   time.Duration
	chain     *chain // nil: connections leave directly
}

// New checks the configuration. An error names the entry that is wrong.
func New(cfg Config) (*Dialer, error) {
	d := &Dialer{
		hosts:     make(map[string]Override, len(cfg.Hosts)),
		forbidden: make(map[netip.AddrPort]bool, len(cfg.Forbidden)),
		resolver:  cfg.Resolver,
		own:       newOwnAddrs(cfg.OwnAddrs),
		timeout:   cfg.Timeout,
	}
	if d.resolver == nil {
		d.resolver = families{&net.Resolver{PreferGo: true}}
	}
	if d.timeout <= 0 {
		d.timeout = DefaultTimeout
	}
	if err := d.setAllowed(cfg.Allowed); err != nil {
		return nil, err
	}
	var err error
	if d.chain, err = newChain(cfg.Proxy); err != nil {
		return nil, err
	}
	for host, o := range cfg.Hosts {
		if !o.Addr.IsValid() || o.Addr.Zone() != "" {
			return nil, fmt.Errorf("egress: host %q has no usable address", host)
		}
		o.Addr = o.Addr.Unmap()
		if undialable(Classify(o.Addr)) {
			return nil, fmt.Errorf("egress: host %q: %s is %s and can't be dialled", host, o.Addr, Classify(o.Addr))
		}
		d.hosts[strings.TrimSuffix(strings.ToLower(host), ".")] = o
	}
	for _, f := range cfg.Forbidden {
		d.forbidden[netip.AddrPortFrom(f.Addr().Unmap(), f.Port())] = true
	}
	return d, nil
}

func (d *Dialer) setAllowed(prefixes []netip.Prefix) error {
	for _, p := range prefixes {
		if !p.IsValid() || p.Addr().Is4In6() {
			return fmt.Errorf("egress: allowed range %q is not a plain IPv4 or IPv6 prefix", p)
		}
		d.allowed = append(d.allowed, p.Masked())
	}
	return nil
}

// Dial connects to host and port; host is canonical (intent.CanonicalHost): an
// address literal or a name. The error is an *Error: DestinationForbidden when
// the destination may not be dialled, an abort code when it could not be.
//
// Every address that was found is checked, and one forbidden address refuses the
// whole name: a name that mixes public and private answers is either a mistake
// or an attack. A family that is not answered in time is as if it had no address;
// what is dialled was checked in any case.
func (d *Dialer) Dial(ctx context.Context, host string, port uint16) (net.Conn, error) {
	if to := d.at(host, port); to.IsValid() {
		conn, cause := d.connectOne(ctx, to)
		if cause != nil {
			return nil, connectError(ctx, host, port, cause)
		}
		return conn, nil
	}
	if end, ok := ctx.Deadline(); !ok || time.Until(end) > d.timeout {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.timeout)
		defer cancel()
	}
	if d.through(host, port) {
		return d.dialThrough(ctx, host, port)
	}
	targets, err := d.targets(ctx, host, port)
	if err != nil {
		return nil, err
	}
	conn, cause := d.connect(ctx, targets)
	if cause != nil {
		return nil, connectError(ctx, host, port, cause)
	}
	return conn, nil
}

// at is the one address of a host that the operator gave an address for, if it may be
// dialled: nothing has to be looked up, and only connecting can take time.
func (d *Dialer) at(host string, port uint16) (to netip.AddrPort) {
	if o, ok := d.hosts[host]; ok {
		if all, err := d.override(host, port, o); err == nil {
			to = all
		}
	}
	return to
}

// targets returns the checked addresses of host, preferred first.
func (d *Dialer) targets(ctx context.Context, host string, port uint16) ([]netip.AddrPort, error) {
	addr, err := netip.ParseAddr(host)
	if err == nil && addr.Is4In6() {
		host = addr.Unmap().String()
	}
	if o, ok := d.hosts[host]; ok {
		to, err := d.override(host, port, o)
		return []netip.AddrPort{to}, err
	}
	if err == nil {
		if e := d.check(addr, port, ""); e != nil {
			return nil, e
		}
		return []netip.AddrPort{netip.AddrPortFrom(addr.Unmap(), port)}, nil
	}
	if e := d.CheckName(host); e != nil {
		return nil, e
	}
	addrs, err := d.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	return d.checkAll(host, port, addrs)
}

func (d *Dialer) override(host string, port uint16, o Override) (netip.AddrPort, error) {
	if o.Port != 0 {
		port = o.Port
	}
	target := netip.AddrPortFrom(o.Addr, port)
	if port == 0 || d.ours(target) {
		return target, forbidden("%s is an endpoint of firma itself", host)
	}
	return target, nil
}

func (d *Dialer) checkAll(host string, port uint16, addrs []netip.Addr) ([]netip.AddrPort, error) {
	targets := make([]netip.AddrPort, 0, len(addrs))
	for _, a := range addrs {
		if e := d.check(a, port, host); e != nil {
			return nil, e
		}
		targets = append(targets, netip.AddrPortFrom(a.Unmap(), port))
	}
	targets = interleave(targets)
	return targets[:min(len(targets), maxTargets)], nil
}

func forbidden(format string, args ...any) *Error {
	return &Error{Reason: verdict.DestinationForbidden, Detail: fmt.Sprintf(format, args...)}
}
