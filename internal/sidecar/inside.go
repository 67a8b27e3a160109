//go:build unix

package sidecar

import (
	"firma/internal/fault"
	"firma/internal/sidecar/h2"
	"firma/internal/sidecar/intercept"
	"firma/internal/sidecar/proxy"
)

// lookInside adds to p what looking into the session's TLS connections takes, where
// any are. What it remembers of upstreams is the session's own.
func (s *session) lookInside(p *proxy.Config) error {
	c := s.side
	if c.leaves == nil {
		return nil
	}
	x := &c.start.Intercept
	cfg := intercept.Config{Hosts: x.Hosts, Bypass: x.Bypass, Strict: x.Strict, Leaves: c.leaves}
	if x.Rules {
		cfg.Also = c.table.TellsApart
	}
	i, err := intercept.New(cfg)
	if err != nil {
		return fault.Wrap(err, "ConfigValidation", "[sidecar.interceptor.https_mitm]: "+err.Error(), "correct the pattern")
	}
	tls, err := newTLS(c.start, c.egress)
	if err != nil {
		return err
	}
	p.Interceptor, p.TLS = i, tls
	p.HTTP2, err = h2.New(h2.Config{
		Enforcer: s.enforcer, DialTLS: tls.DialTLS, Log: c.log,
		HeadTimeout: p.HeadTimeout, IdleTimeout: p.IdleTimeout, ConnectTimeout: p.ConnectTimeout,
		ResponseTimeout: p.ResponseTimeout, StreamIdle: p.StreamIdle, Memory: p.Memory, MaxBody: p.MaxBody, HostTimeout: p.HostTimeout,
	})
	return err
}
