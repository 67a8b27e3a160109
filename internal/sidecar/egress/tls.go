package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"firma/internal/verdict"
)

// maxSessions bounds the TLS sessions kept for resumption, one per destination.
const maxSessions = 512

// TLSConfig is what NewTLS needs.
type TLSConfig struct {
	// Roots verify upstream certificates; nil: the host's own.
	Roots *x509.CertPool
}

// TLS connects to destinations by TLS and verifies that they are who the call was
// judged for. It is safe for concurrent use.
type TLS struct {
	dial  *Dialer
	roots *x509.CertPool
	cache tls.ClientSessionCache

	mu      sync.Mutex
	configs map[string]*tls.Config // by the protocols offered
}

// NewTLS returns a dialer that connects through d.
func NewTLS(d *Dialer, c TLSConfig) *TLS {
	return &TLS{dial: d, roots: c.Roots, cache: tls.NewLRUClientSessionCache(maxSessions), configs: map[string]*tls.Config{}}
}

// DialTLS connects to host and port as Dial does, and completes the handshake
// within the same time: TLS 1.2 or later, host's certificate verified, protos
// offered by ALPN. Sessions are resumed. The error is an *Error; one of the
// handshake is CONNECTOR_FAILURE or CONNECTOR_TIMEOUT.
func (t *TLS) DialTLS(ctx context.Context, host string, port uint16, protos []string) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, t.dial.timeout)
	defer cancel()
	nc, err := t.dial.Dial(ctx, host, port)
	if err != nil {
		return nil, err
	}
	cfg := t.config(protos).Clone()
	cfg.ServerName = host // an address is verified as one, and not sent
	cfg.ClientSessionCache = cacheOf{t.cache, fmt.Sprintf("%s|%d|%v", host, port, protos)}
	tc := tls.Client(nc, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, handshakeError(ctx, host, err)
	}
	return tc, nil
}

func (t *TLS) config(protos []string) *tls.Config {
	key := fmt.Sprint(protos)
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.configs[key]
	if c == nil {
		c = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: t.roots, NextProtos: slices.Clone(protos)}
		t.configs[key] = c
	}
	return c
}

// cacheOf keeps one session per destination and offer: a session that was begun
// for another port, or with other protocols, is none of ours.
type cacheOf struct {
	all tls.ClientSessionCache
	key string
}

func (c cacheOf) Get(string) (*tls.ClientSessionState, bool) { return c.all.Get(c.key) }
func (c cacheOf) Put(_ string, s *tls.ClientSessionState)    { c.all.Put(c.key, s) }

// handshakeError says in our own words what is wrong: the texts of certificates
// are the upstream's.
func handshakeError(ctx context.Context, host string, err error) *Error {
	if timedOut(ctx, err) {
		return &Error{verdict.ConnectorTimeout, "the TLS handshake with " + host + " timed out", err}
	}
	return &Error{verdict.ConnectorFailure, "the TLS handshake with " + host + " failed: " + explainTLS(err), err}
}

func explainTLS(err error) string {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		verify  *tls.CertificateVerificationError
		remote  *net.OpError
		record  tls.RecordHeaderError
	)
	text := err.Error()
	switch {
	case strings.Contains(text, "protocol version"):
		return "it speaks no version of TLS that is safe (1.2 or later)"
	case strings.Contains(text, "no application protocol"):
		return "it speaks none of the protocols offered"
	case errors.As(err, &unknown):
		return "its certificate is signed by an unknown authority; if it is yours, name it in [sidecar.egress].ca_cert_path"
	case errors.As(err, &name):
		return "its certificate is for another name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "its certificate has expired or is not valid yet"
	case errors.As(err, &invalid), errors.As(err, &verify):
		return "its certificate is not valid"
	case errors.As(err, &remote) && remote.Op == "remote error": // an alert, in crypto/tls's words
		return "it refused: " + strings.TrimPrefix(remote.Err.Error(), "tls: ")
	case errors.As(err, &record):
		return "it does not speak TLS"
	case strings.Contains(text, "EOF"), strings.Contains(text, "reset"):
		return "it closed the connection"
	}
	return "it broke the protocol"
}
