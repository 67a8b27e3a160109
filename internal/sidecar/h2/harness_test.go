package h2

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"firma/internal/intent"
	"firma/internal/sidecar/proxy"
	"firma/internal/verdict"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard) // of net/http's, as firma does
	goleak.VerifyTestMain(m)
}

// enforcer is a scripted Enforcer that remembers what it was asked.
type enforcer struct {
	mu     sync.Mutex
	decide func(c *intent.Call) verdict.Decision // nil allows
	log    []string
	ended  chan proxy.Dispatch
}

func newEnforcer() *enforcer { return &enforcer{ended: make(chan proxy.Dispatch, 1000)} }

func (e *enforcer) note(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.log = append(e.log, fmt.Sprintf(format, args...))
}

func (e *enforcer) take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := e.log
	e.log = nil
	return out
}

func (e *enforcer) Enforce(_ context.Context, c *intent.Call) verdict.Decision {
	d := verdict.Decision{Outcome: verdict.Allow}
	if e.decide != nil {
		d = e.decide(c)
	}
	d.EventID = "aevt_1"
	e.note("%s %s %s%s", d.Outcome, c.Method, c.HostPort(), c.Target())
	return d
}

func (e *enforcer) Admit(context.Context, *intent.Call) verdict.Decision {
	panic("streams are admitted before")
}
func (e *enforcer) Contactable(*intent.Call) bool { return true }
func (e *enforcer) OwnTunnel(*intent.Call) bool   { return false }

func (e *enforcer) Malformed(_ context.Context, transport, detail string) verdict.Decision {
	e.note("malformed %s: %s", transport, detail)
	return verdict.Decision{Outcome: verdict.Deny, Reason: verdict.MalformedRequest, Detail: detail, EventID: "aevt_m"}
}

func (e *enforcer) Refuse(_ context.Context, c *intent.Call, prior verdict.Decision, r verdict.Reason, detail string) verdict.Decision {
	e.note("refuse %s after %s: %s", c.HostKey(), prior.Outcome, r)
	prior.Outcome, prior.Reason, prior.Detail = verdict.Deny, r, detail
	return prior
}

func (*enforcer) Roomy() bool                                       { return true }
func (e *enforcer) Dispatched(_ verdict.Decision, r proxy.Dispatch) { e.ended <- r }

// denyPath denies one path and allows the rest.
func denyPath(path string) func(*intent.Call) verdict.Decision {
	return func(c *intent.Call) verdict.Decision {
		if c.Path == path {
			return verdict.Decision{Outcome: verdict.Deny, Reason: verdict.PolicyDenied, Detail: "no"}
		}
		return verdict.Decision{Outcome: verdict.Allow}
	}
}

const (
	host = "api.example.com"
	port = 443
)

// certificate is for host, and its own root.
var certificate, roots = func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{host, "localhost"}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}()

// origin serves handler over TLS with the given protocols until the test ends.
func origin(t testing.TB, handler http.Handler, protos ...string) string {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: protos}
	s.EnableHTTP2 = len(protos) > 0 && protos[0] == "h2"
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func dialTo(addr string) func(context.Context, string, uint16, []string) (*tls.Conn, error) {
	return func(ctx context.Context, host string, _ uint16, protos []string) (*tls.Conn, error) {
		d := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: host, NextProtos: protos}}
		c, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		return c.(*tls.Conn), nil
	}
}

// start serves HTTP/2 for host until the test ends and returns its address.
func start(t testing.TB, cfg Config) (*Server, string) { return startAs(t, cfg, host) }

// startAs serves for another name, and its own port.
func startAs(t testing.TB, cfg Config, name string) (*Server, string) {
	t.Helper()
	if cfg.Enforcer == nil {
		cfg.Enforcer = newEnforcer()
	}
	if cfg.DialTLS == nil {
		cfg.DialTLS = func(context.Context, string, uint16, []string) (*tls.Conn, error) {
			return nil, errors.New("no upstream")
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.NewTextHandler(failOnLog{t}, nil))
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	at := uint16(port)
	if name != host {
		at = uint16(ln.Addr().(*net.TCPAddr).Port)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				if err := c.(*tls.Conn).Handshake(); err != nil {
					c.Close()
					return
				}
				s.ServeConn(ctx, c, name, at)
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		ln.Close()
		wg.Wait()
		if err := s.Drain(context.Background()); err != nil {
			t.Error("Drain:", err)
		}
	})
	return s, ln.Addr().String()
}

// failOnLog makes every log line (a panic, mostly) a failure.
type failOnLog struct{ t testing.TB }

func (f failOnLog) Write(p []byte) (int, error) {
	f.t.Errorf("logged: %s", p)
	return len(p), nil
}

// client is the standard library's client, speaking HTTP/2 to addr.
func client(t testing.TB, addr string) *http.Client {
	tr := &http.Transport{
		ForceAttemptHTTP2:     true,
		DisableCompression:    true,
		ExpectContinueTimeout: 10 * time.Second,
		DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			d := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: host, NextProtos: []string{"h2"}}}
			return d.DialContext(ctx, network, addr)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

func get(t testing.TB, c *http.Client, path string) (*http.Response, string) {
	t.Helper()
	resp, err := c.Get("https://" + host + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func receive[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func pattern(n int) []byte { return bytes.Repeat([]byte("0123456789abcdef"), n/16+1)[:n] }

type logLines chan string

func (l logLines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

func (l logLines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }
