// Package intercept says which hosts' TLS connections are looked into, and ends
// such a connection in the Sidecar: with a certificate for the destination,
// whatever name the client wrote into its hello. It also remembers which protocol
// a destination speaks.
package intercept

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
)

// The protocols that a connection can be looked into with.
const (
	HTTP1 = "http/1.1"
	HTTP2 = "h2"
)

// Leaves makes certificates. It is safe for concurrent use.
type Leaves interface {
	// For returns the certificate for a host in canonical form: a name or an
	// address.
	For(host string) (*tls.Certificate, error)
}

// Config is what New needs. The lists hold patterns: a host, "*" for every host,
// or "*.example.com" for everything below example.com.
type Config struct {
	Hosts  []string               // looked into
	Also   func(host string) bool // whether a host is besides; may be nil
	Bypass []string               // and yet not looked into
	// Strict hosts are never carried unread because looking into them failed; nil
	// means all that are looked into.
	Strict []string
	Leaves Leaves
}

// Interceptor is safe for concurrent use.
type Interceptor struct {
	hosts, bypass, strict patterns
	also                  func(host string) bool
	leaves                Leaves
	speaks                map[string]*tls.Config
	known                 memory
}

// New checks the configuration. An error names the pattern that is wrong.
func New(c Config) (*Interceptor, error) {
	if c.Leaves == nil {
		return nil, errors.New("intercept: Leaves is required")
	}
	if c.Strict == nil {
		c.Strict = []string{"*"}
	}
	i := &Interceptor{also: c.Also, leaves: c.Leaves, speaks: map[string]*tls.Config{}}
	for _, list := range []struct {
		to   *patterns
		from []string
	}{{&i.hosts, c.Hosts}, {&i.bypass, c.Bypass}, {&i.strict, c.Strict}} {
		var err error
		if *list.to, err = parsePatterns(list.from); err != nil {
			return nil, err
		}
	}
	for _, proto := range []string{HTTP1, HTTP2} {
		// One configuration for all hosts, so that sessions can be resumed. That a
		// session was begun for another host means nothing: both ends of it are
		// the agent and firma, and the destination is fixed before the handshake.
		i.speaks[proto] = &tls.Config{
			MinVersion: tls.VersionTLS12, NextProtos: []string{proto},
			// The agent is on this machine: nothing is gained by small records.
			DynamicRecordSizingDisabled: true,
			GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
				return h.Conn.(*conn).leaf, nil
			},
		}
	}
	return i, nil
}

// Covers reports whether connections to host, in canonical form, are looked into.
func (i *Interceptor) Covers(host string) bool {
	return (i.hosts.match(host) || i.also != nil && i.also(host)) && !i.bypass.match(host)
}

// Strict reports whether a connection to host that can't be looked into must end.
func (i *Interceptor) Strict(host string) bool { return i.strict.match(host) }

// Terminate ends the client's TLS on nc, whose bytes first were read already, as
// host, speaking proto (HTTP1 or HTTP2) where the client offers protocols. The
// caller sets deadlines, and closes nc on an error.
func (i *Interceptor) Terminate(ctx context.Context, nc net.Conn, first []byte, host, proto string) (*tls.Conn, error) {
	leaf, err := i.leaves.For(host)
	if err != nil {
		return nil, err
	}
	tc := tls.Server(&conn{Conn: nc, first: bytes.Clone(first), leaf: leaf}, i.speaks[proto])
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return tc, nil
}

// Known returns the protocol that host was last seen to speak on port.
func (i *Interceptor) Known(host string, port uint16) (proto string, ok bool) {
	return i.known.get(host, port)
}

// Learn remembers what Known returns, for a while.
func (i *Interceptor) Learn(host string, port uint16, proto string) { i.known.put(host, port, proto) }

// conn is a connection of which some bytes were read before.
type conn struct {
	net.Conn
	first []byte
	leaf  *tls.Certificate
}

func (c *conn) Read(b []byte) (int, error) {
	if len(c.first) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.first)
	if c.first = c.first[n:]; len(c.first) == 0 {
		c.first = nil
	}
	return n, nil
}
