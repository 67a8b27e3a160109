//go:build unix

package sidecar

import (
	"crypto/x509"
	"log/slog"
	"net/netip"
	"net/url"

	"firma/internal/ca"
	"firma/internal/control"
	"firma/internal/fault"
	"firma/internal/intent"
	"firma/internal/mapping"
	"firma/internal/sidecar/egress"
	"firma/internal/sidecar/uplink"
	"firma/internal/verdict"
	"firma/internal/wire"
)

// buildTable joins the rules of a run: files, shipped tables, registries and the
// operator's --allow.
func buildTable(s *control.SidecarStart, log *slog.Logger) (*mapping.Table, error) {
	var rules []mapping.Rule
	for _, f := range s.RulesFiles {
		rs, warnings, err := mapping.Parse(f.Name, f.Data)
		if err != nil {
			return nil, err
		}
		for _, w := range warnings {
			log.Warn("mapping rules", "warning", w)
		}
		rules = append(rules, rs...)
	}
	for _, name := range s.ShippedMappings {
		rs, err := mapping.Shipped(name)
		if err != nil {
			return nil, err
		}
		rules = append(rules, rs...)
	}
	for _, reg := range s.Registries {
		rules = append(rules, mapping.Registry(reg.Client, reg.Host)...)
	}
	for _, a := range s.Allow {
		rs, err := mapping.Allow(a)
		if err != nil {
			return nil, err
		}
		rules = append(rules, rs...)
	}
	return mapping.NewTable(rules)
}

// uplinkConfig is everything about the line to an Authority but its address, its
// key and what to ask it for.
func uplinkConfig(s *control.SidecarStart, log *slog.Logger) uplink.Config {
	u := s.Uplink
	id := u.SidecarID
	if id == "" {
		id = s.SandboxID
	}
	return uplink.Config{
		ConnectAddr: u.ConnectAddr, AllowInsecureRemote: u.AllowInsecureRemote,
		Credentials:    uplink.Credentials{WorkspaceID: u.WorkspaceID, SidecarID: id, PreSharedKey: wire.PreSharedKey(s.PreSharedKey)},
		Skew:           s.Skew,
		ConnectTimeout: u.ConnectTimeout, MinBackoff: u.MinBackoff, MaxBackoff: u.MaxBackoff,
		RevocationGrace: u.RevocationGrace, ClosedOnDisconnect: u.ClosedOnDisconnect, MaxRevocations: u.MaxRevocations,
		Log: log,
	}
}

// newDialer never dials firma's own Authority, whatever the configuration allows.
func newDialer(s *control.SidecarStart, authorityURL string, own ...netip.AddrPort) (*egress.Dialer, error) {
	cfg := egress.Config{Hosts: map[string]egress.Override{}, Forbidden: own, Timeout: s.Limits.ConnectTimeout}
	for _, p := range s.AllowedCIDRs {
		prefix, err := netip.ParsePrefix(p)
		if err != nil {
			return nil, invalidEgress(p, err)
		}
		cfg.Allowed = append(cfg.Allowed, prefix)
	}
	for host, addr := range s.Hosts {
		name, _, err := intent.CanonicalHost(host)
		if err != nil {
			return nil, invalidEgress(host, err)
		}
		if cfg.Hosts[name], err = override(addr); err != nil {
			return nil, invalidEgress(host, err)
		}
	}
	if p := s.UpstreamProxy; p != nil {
		u, err := url.Parse(p.URL)
		if err != nil {
			return nil, invalidEgress("upstream_proxy.url", err)
		}
		roots, err := upstreamRoots(s)
		if err != nil {
			return nil, err
		}
		cfg.Proxy = &egress.UpstreamProxy{URL: u, NoProxy: p.NoProxy, Username: p.Username, Password: p.Password, Roots: roots}
	}
	if u, err := url.Parse(authorityURL); err == nil {
		if ap, err := netip.ParseAddrPort(u.Host); err == nil {
			cfg.Forbidden = append(cfg.Forbidden, ap)
		}
	}
	return egress.New(cfg)
}

// newTLS verifies upstreams by the host's roots and those configured beside them.
func newTLS(s *control.SidecarStart, d *egress.Dialer) (*egress.TLS, error) {
	roots, err := upstreamRoots(s)
	if err != nil {
		return nil, err
	}
	return egress.NewTLS(d, egress.TLSConfig{Roots: roots}), nil
}

// upstreamRoots are nil for the host's own.
func upstreamRoots(s *control.SidecarStart) (*x509.CertPool, error) {
	if len(s.UpstreamRoots) == 0 {
		return nil, nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, fault.Wrap(err, "SystemRootsMissing", "the host's root certificates can't be read", "install them (Debian, Ubuntu: apt-get install ca-certificates)")
	}
	if !roots.AppendCertsFromPEM(s.UpstreamRoots) {
		return nil, fault.New("ConfigValidation", "[sidecar.egress]: ca_cert_path holds no certificate", "name a file of PEM certificates")
	}
	return roots, nil
}

// newLeaves issues the certificates of hosts that are looked into; nil where none
// are.
func newLeaves(s *control.SidecarStart) (*ca.Leaves, error) {
	x := &s.Intercept
	if !x.Enabled {
		return nil, nil
	}
	authority, err := ca.FromDER(x.CACert, x.CAKey)
	if err != nil {
		return nil, fault.Wrap(err, "CAInvalid", "the certificate authority behind interception is not usable", "run again; `firma ca show` looks at a kept one")
	}
	return authority.Leaves(x.CacheCapacity, x.CertTTL)
}

func override(s string) (egress.Override, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return egress.Override{Addr: a}, nil
	}
	ap, err := netip.ParseAddrPort(s)
	return egress.Override{Addr: ap.Addr(), Port: ap.Port()}, err
}

func invalidEgress(key string, err error) error {
	return fault.Wrap(err, "ConfigValidation", "[sidecar.egress]: "+key+" is wrong", "write an address, or address:port")
}

// literals lets the pipeline refuse addresses by class before an ALLOW.
type literals struct{ d *egress.Dialer }

func (l literals) Forbidden(c *intent.Call) (verdict.Reason, string) {
	var e *egress.Error
	if c.IsIP {
		e = l.d.CheckLiteral(c.Addr, c.Port)
	} else {
		e = l.d.CheckName(c.Host)
	}
	if e == nil {
		return verdict.None, ""
	}
	return e.Reason, e.Detail
}
