package conformance

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"firma/internal/intent"
	"firma/internal/sidecar/h2"
	"firma/internal/sidecar/proxy"
	"firma/internal/verdict"
)

// enforcer allows everything and counts.
type enforcer struct {
	notify    chan proxy.Dispatch // gets every dispatch, if not nil
	mu        sync.Mutex
	calls     []string
	malformed int
	denies    bool
	ended     []proxy.Dispatch
}

func (e *enforcer) Enforce(_ context.Context, c *intent.Call) verdict.Decision {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, c.Method+" "+c.Path)
	if e.denies {
		return verdict.Decision{Outcome: verdict.Deny, Reason: verdict.PolicyDenied, Detail: "100% no", EventID: "aevt_1"}
	}
	return verdict.Decision{Outcome: verdict.Allow, EventID: "aevt_1"}
}

func (e *enforcer) Malformed(_ context.Context, _, detail string) verdict.Decision {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.malformed++
	return verdict.Decision{Outcome: verdict.Deny, Reason: verdict.MalformedRequest, Detail: detail}
}

func (e *enforcer) Refuse(_ context.Context, _ *intent.Call, d verdict.Decision, r verdict.Reason, detail string) verdict.Decision {
	d.Outcome, d.Reason, d.Detail = verdict.Deny, r, detail
	return d
}

func (e *enforcer) Admit(context.Context, *intent.Call) verdict.Decision {
	return verdict.Decision{Outcome: verdict.Allow, EventID: "aevt_0"}
}

func (e *enforcer) Contactable(*intent.Call) bool { return true }
func (e *enforcer) OwnTunnel(*intent.Call) bool   { return false }

func (*enforcer) Roomy() bool { return true }
func (e *enforcer) Dispatched(_ verdict.Decision, r proxy.Dispatch) {
	if e.notify != nil {
		e.notify <- r
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = append(e.ended, r)
}

const name = "localhost"

var certificate, roots = func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}()

// serve puts firma's HTTP/2 in front of the TLS server at upstream until the test
// ends, and returns its port.
func serve(t *testing.T, cfg h2.Config, upstream string) uint16 {
	t.Helper()
	cfg.DialTLS = func(ctx context.Context, host string, _ uint16, protos []string) (*tls.Conn, error) {
		d := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: host, NextProtos: protos}}
		c, err := d.DialContext(ctx, "tcp", upstream)
		if err != nil {
			return nil, err
		}
		return c.(*tls.Conn), nil
	}
	s, err := h2.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(ln.Addr().(*net.TCPAddr).Port)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				if c.(*tls.Conn).Handshake() != nil {
					c.Close()
					return
				}
				s.ServeConn(ctx, c, name, port)
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		ln.Close()
		wg.Wait()
		s.Drain(context.Background())
	})
	return port
}
