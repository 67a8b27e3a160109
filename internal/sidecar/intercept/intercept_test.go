package intercept

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"testing"
	"time"
)

// leaves are self-signed.
type leaves struct{ fail bool }

func (l leaves) For(host string) (*tls.Certificate, error) {
	if l.fail {
		return nil, errors.New("no leaf")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func TestHosts(t *testing.T) {
	i, err := New(Config{Hosts: []string{"A.test.", "*.b.test", "127.0.0.1"}, Bypass: []string{"not.b.test", "*.no.b.test"}, Strict: []string{"a.test"}, Leaves: leaves{}})
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]bool{
		"a.test": true, "x.a.test": false, "xa.test": false, "b.test": false, "x.b.test": true, "y.x.b.test": true, "xb.test": false,
		"not.b.test": false, "x.not.b.test": true, "no.b.test": true, "x.no.b.test": false, "127.0.0.1": true, "127.0.0.2": false,
		"x.b.test.evil.test": false,
	} {
		if i.Covers(host) != want {
			t.Errorf("%s: %v", host, !want)
		}
	}
	if !i.Strict("a.test") || i.Strict("x.b.test") {
		t.Error("strict")
	}
	every, err := New(Config{Hosts: []string{"*"}, Bypass: []string{"a.test"}, Leaves: leaves{}})
	if err != nil || !every.Covers("x.test") || !every.Covers("::1") || every.Covers("a.test") || !every.Strict("x.test") {
		t.Error("every host", err)
	}
	rules, err := New(Config{Hosts: []string{"a.test"}, Also: func(h string) bool { return h != "c.test" }, Bypass: []string{"d.test"}, Leaves: leaves{}})
	if err != nil || !rules.Covers("a.test") || !rules.Covers("b.test") || rules.Covers("c.test") || rules.Covers("d.test") || !rules.Strict("b.test") {
		t.Error("hosts of rules", err)
	}
	none, err := New(Config{Leaves: leaves{}})
	if err != nil || none.Covers("a.test") {
		t.Error("no host", err)
	}
}

func TestPatternsThatAreNone(t *testing.T) {
	for _, p := range []string{"", "*.", "a.*.test", "*a.test", "**.a.test", "a.test:443", "https://a.test", "*.127.0.0.1", "a b", "a/b"} {
		for _, c := range []Config{{Hosts: []string{p}}, {Bypass: []string{p}}, {Strict: []string{p}}} {
			c.Leaves = leaves{}
			if _, err := New(c); err == nil {
				t.Errorf("%q is taken", p)
			}
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("without leaves")
	}
}

func TestTerminate(t *testing.T) {
	i, err := New(Config{Leaves: leaves{}})
	if err != nil {
		t.Fatal(err)
	}
	cache := tls.NewLRUClientSessionCache(1)
	for _, tt := range []struct {
		proto, client, want string
	}{{HTTP1, HTTP2, ""}, {HTTP1, HTTP1, HTTP1}, {HTTP2, HTTP2, HTTP2}, {HTTP1, "", ""}} {
		near, far := pair(t)
		done := make(chan error, 1)
		go func() {
			cfg := &tls.Config{ServerName: "other.test", InsecureSkipVerify: true, ClientSessionCache: cache}
			if tt.client != "" {
				cfg.NextProtos = []string{tt.client}
			}
			tc := tls.Client(near, cfg)
			err := tc.Handshake()
			if err == nil && tc.ConnectionState().PeerCertificates[0].DNSNames[0] != "a.test" {
				err = fmt.Errorf("the certificate follows the client's name")
			}
			near.Close()
			done <- err
		}()
		first := make([]byte, 3)
		if _, err := far.Read(first); err != nil {
			t.Fatal(err)
		}
		tc, err := i.Terminate(context.Background(), far, first, "a.test", tt.proto)
		clear(first) // it keeps no reference
		if mismatch := tt.client != "" && tt.client != tt.proto; (err != nil) != mismatch {
			t.Errorf("%+v: %v", tt, err)
		}
		if err == nil && tc.ConnectionState().NegotiatedProtocol != tt.want {
			t.Errorf("%+v: %q", tt, tc.ConnectionState().NegotiatedProtocol)
		}
		far.Close()
		if err := <-done; err != nil && tt.want != "" {
			t.Errorf("%+v: client: %v", tt, err)
		}
	}
	i, _ = New(Config{Leaves: leaves{fail: true}})
	if _, err := i.Terminate(context.Background(), nil, nil, "a.test", HTTP1); err == nil {
		t.Error("without a leaf")
	}
}

// pair is a connection, with a time by which everything must be over.
func pair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if near, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{near, far} {
		c.SetDeadline(time.Now().Add(20 * time.Second))
		t.Cleanup(func() { c.Close() })
	}
	return near, far
}

func TestMemory(t *testing.T) {
	var m memory
	if _, ok := m.get("a", 1); ok {
		t.Error("knows what it was not told")
	}
	m.put("a", 1, HTTP2)
	if p, ok := m.get("a", 1); p != HTTP2 || !ok {
		t.Error(p, ok)
	}
	if _, ok := m.get("a", 2); ok {
		t.Error("another port")
	}
	for n := range 3 * maxKnown {
		m.put(fmt.Sprint(n), 1, HTTP1)
	}
	if len(m.facts) > maxKnown {
		t.Errorf("%d are remembered", len(m.facts))
	}
}
