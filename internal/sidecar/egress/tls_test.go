package egress

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"firma/internal/verdict"
)

// issuer signs certificates for the tests' upstreams.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "upstream CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &issuer{cert, key, pool}
}

func (i *issuer) issue(t *testing.T, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "SECRET text of the upstream"}, DNSNames: []string{"up.test"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if change != nil {
		change(tmpl)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, i.cert, i.key.Public(), i.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: i.key}
}

// tlsServer serves cfg on loopback; seen gets the state of each finished handshake.
func tlsServer(t *testing.T, cfg *tls.Config) (netip.AddrPort, <-chan tls.ConnectionState) {
	t.Helper()
	seen := make(chan tls.ConnectionState, 16)
	addr := rawServer(t, func(c net.Conn) {
		tc := tls.Server(c, cfg)
		if tc.Handshake() != nil {
			return
		}
		seen <- tc.ConnectionState()
		io.WriteString(tc, "hello") // carries the session ticket along
		io.Copy(io.Discard, tc)
	})
	return addr, seen
}

func rawServer(t *testing.T, serve func(net.Conn)) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(c) }()
		}
	}()
	return netip.MustParseAddrPort(ln.Addr().String())
}

func tlsDialer(t *testing.T, to netip.AddrPort, roots *x509.CertPool, timeout time.Duration) *TLS {
	t.Helper()
	d, err := New(Config{Hosts: map[string]Override{"up.test": {Addr: to.Addr(), Port: to.Port()}, "other.test": {Addr: to.Addr(), Port: to.Port()},
		"127.0.0.1": {Addr: to.Addr(), Port: to.Port()}}, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return NewTLS(d, TLSConfig{Roots: roots})
}

func TestTLSIsVerified(t *testing.T) {
	ca, foreign := newIssuer(t), newIssuer(t)
	good := ca.issue(t, nil)
	for _, c := range []struct {
		name, host string
		serve      *tls.Config
		roots      *x509.CertPool
		want       string // "" connects
	}{
		{"good", "up.test", &tls.Config{Certificates: []tls.Certificate{good}}, ca.pool, ""},
		{"address", "127.0.0.1", &tls.Config{Certificates: []tls.Certificate{good}}, ca.pool, ""},
		{"wrong name", "other.test", &tls.Config{Certificates: []tls.Certificate{good}}, ca.pool, "for another name"},
		{"unknown authority", "up.test", &tls.Config{Certificates: []tls.Certificate{good}}, foreign.pool, "unknown authority"},
		{"expired", "up.test", &tls.Config{Certificates: []tls.Certificate{ca.issue(t, func(x *x509.Certificate) { x.NotAfter = time.Now().Add(-time.Minute) })}}, ca.pool, "expired"},
		{"not for servers", "up.test", &tls.Config{Certificates: []tls.Certificate{ca.issue(t, func(x *x509.Certificate) { x.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })}}, ca.pool, "not valid"},
		{"old version", "up.test", &tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}, ca.pool, "no version of TLS"},
		{"no common protocol", "up.test", &tls.Config{Certificates: []tls.Certificate{good}, NextProtos: []string{"other"}}, ca.pool, "none of the protocols"},
		{"wants a client certificate", "up.test", &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}, ca.pool, "it refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			addr, _ := tlsServer(t, c.serve)
			tc, err := tlsDialer(t, addr, c.roots, 0).DialTLS(context.Background(), c.host, 443, []string{"http/1.1"})
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				tc.Close()
				return
			}
			var e *Error
			if !errors.As(err, &e) || e.Reason != verdict.ConnectorFailure || !strings.Contains(e.Detail, c.want) || strings.Contains(e.Detail, "SECRET") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestTLSPeersThatDoNotSpeakIt(t *testing.T) {
	ca := newIssuer(t)
	for name, c := range map[string]struct {
		serve  func(net.Conn)
		reason verdict.Reason
		want   string
	}{
		"silent":      {func(c net.Conn) { io.Copy(io.Discard, c) }, verdict.ConnectorTimeout, "timed out"},
		"closes":      {func(c net.Conn) { c.Read(make([]byte, 1)) }, verdict.ConnectorFailure, "closed the connection"},
		"speaks HTTP": {func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n"); io.Copy(io.Discard, c) }, verdict.ConnectorFailure, "does not speak TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tlsDialer(t, rawServer(t, c.serve), ca.pool, 300*time.Millisecond).DialTLS(context.Background(), "up.test", 443, nil)
			var e *Error
			if !errors.As(err, &e) || e.Reason != c.reason || !strings.Contains(e.Detail, c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestTLSSessionsAreResumed: per destination and offer, and never for another one.
func TestTLSSessionsAreResumed(t *testing.T) {
	ca := newIssuer(t)
	addr, seen := tlsServer(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, func(x *x509.Certificate) { x.DNSNames = append(x.DNSNames, "other.test") })}, NextProtos: []string{"h2", "http/1.1"}})
	d := tlsDialer(t, addr, ca.pool, 0)
	for _, c := range []struct {
		host    string
		port    uint16
		protos  []string
		resumes bool
		proto   string
	}{
		{"up.test", 443, []string{"http/1.1"}, false, "http/1.1"},
		{"up.test", 443, []string{"http/1.1"}, true, "http/1.1"},
		{"up.test", 443, []string{"h2", "http/1.1"}, false, "h2"},
		{"up.test", 8443, []string{"http/1.1"}, false, "http/1.1"},
		{"other.test", 443, []string{"http/1.1"}, false, "http/1.1"},
		{"up.test", 443, []string{"h2", "http/1.1"}, true, "h2"},
	} {
		tc, err := d.DialTLS(context.Background(), c.host, c.port, c.protos)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(tc, make([]byte, 5)); err != nil { // the ticket has come
			t.Fatal(err)
		}
		tc.Close()
		if s := <-seen; s.DidResume != c.resumes || s.NegotiatedProtocol != c.proto || s.ServerName != c.host {
			t.Errorf("%+v: resumed %v, %s for %q", c, s.DidResume, s.NegotiatedProtocol, s.ServerName)
		}
	}
}
