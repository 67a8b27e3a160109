package proxy

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"firma/internal/sidecar/intercept"
)

// authority signs certificates for tests: leaves for the agent's side, and the
// origins' own.
type certAuthority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool

	mu    sync.Mutex
	made  []string // the hosts that For was asked for
	cache map[string]*tls.Certificate
}

func newCertAuthority(t testing.TB) *certAuthority {
	t.Helper()
	a := &certAuthority{t: t, pool: x509.NewCertPool(), cache: map[string]*tls.Certificate{}}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

// For implements intercept.Leaves.
func (a *certAuthority) For(host string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.made = append(a.made, host)
	if c := a.cache[host]; c != nil {
		return c, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	if ip, err := netip.ParseAddr(host); err == nil {
		template.IPAddresses = []net.IP{ip.AsSlice()}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	c := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	a.cache[host] = c
	return c, nil
}

func (a *certAuthority) hosts() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.made...)
}

// dialTLSTo connects to one address as any host, and verifies it as egress does.
type dialTLSTo struct {
	addr  string
	roots *x509.CertPool
	mu    *sync.Mutex
	log   *[]string // protocols that were offered; may be nil
}

func (d dialTLSTo) DialTLS(ctx context.Context, host string, _ uint16, protos []string) (*tls.Conn, error) {
	if d.log != nil {
		d.mu.Lock()
		*d.log = append(*d.log, protos...)
		d.mu.Unlock()
	}
	nc, err := dialTo(d.addr).Dial(ctx, "", 0)
	if err != nil {
		return nil, err
	}
	tc := tls.Client(nc, &tls.Config{RootCAs: d.roots, ServerName: host, NextProtos: protos})
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return tc, nil
}

// intercepting is a proxy that looks into the streams to hosts, and an origin
// behind it whose connections handle serves once their TLS is up.
type intercepting struct {
	ca     *certAuthority // of the agent's side
	e      *enforcer
	s      *Server
	proxy  string
	origin string
	conns  func() int
}

type interceptOptions struct {
	hosts, strict []string // default api.example.com
	protos        []string // of the origin
	cfg           Config
	untrusted     bool // the origin's certificate is nobody's
	plain         bool // the origin speaks no TLS
}

func newIntercepting(t testing.TB, o interceptOptions, handle func(c net.Conn, r *bufio.Reader)) *intercepting {
	t.Helper()
	w := &intercepting{ca: newCertAuthority(t)}
	far := newCertAuthority(t)
	leaf, err := far.For("api.example.com")
	if err != nil {
		t.Fatal(err)
	}
	w.origin, w.conns = listen(t, func(c *net.TCPConn, r *bufio.Reader) {
		if o.plain {
			handle(c, r)
			return
		}
		tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{*leaf}, NextProtos: o.protos})
		if tc.Handshake() == nil {
			defer tc.Close()
			handle(tc, bufio.NewReader(tc))
		}
	})
	if o.hosts == nil {
		o.hosts = []string{"api.example.com"}
	}
	i, err := intercept.New(intercept.Config{Hosts: o.hosts, Strict: o.strict, Leaves: w.ca})
	if err != nil {
		t.Fatal(err)
	}
	if o.untrusted {
		far = newCertAuthority(t)
	}
	o.cfg.Interceptor = i
	if o.cfg.TLS == nil {
		o.cfg.TLS = dialTLSTo{addr: w.origin, roots: far.pool}
	}
	if o.cfg.Dialer == nil {
		o.cfg.Dialer = dialTo(w.origin)
	}
	if o.cfg.Enforcer == nil {
		w.e = &enforcer{ended: make(chan Dispatch, 100), strict: true}
		o.cfg.Enforcer = w.e
	} else {
		w.e, _ = o.cfg.Enforcer.(*enforcer)
	}
	w.s, w.proxy = start(t, o.cfg)
	return w
}

// stream opens a CONNECT stream.
func (w *intercepting) stream(t testing.TB, target string) *rawClient {
	t.Helper()
	c := connectTo(t, w.proxy)
	c.send("CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n")
	c.expect(established)
	return c
}

// agentTLS is a client inside an intercepted stream.
type agentTLS struct {
	*tls.Conn
	t   testing.TB
	r   *bufio.Reader
	raw *rawClient
}

func (w *intercepting) dial(t testing.TB, change func(*tls.Config)) *agentTLS {
	t.Helper()
	return w.secure(t, w.stream(t, "api.example.com:443"), change)
}

func (w *intercepting) secure(t testing.TB, raw *rawClient, change func(*tls.Config)) *agentTLS {
	t.Helper()
	cfg := &tls.Config{RootCAs: w.ca.pool, ServerName: "api.example.com"}
	if change != nil {
		change(cfg)
	}
	tc := tls.Client(raw.TCPConn, cfg)
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	return &agentTLS{tc, t, bufio.NewReader(tc), raw}
}

func (c *agentTLS) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, s); err != nil {
		c.t.Fatal(err)
	}
}

func (c *agentTLS) expect(want string) {
	c.t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(c.r, got)
	if string(got[:n]) != want {
		rest, _ := c.r.Peek(c.r.Buffered())
		c.t.Fatalf("got %q%q (%v), want %q", got[:n], rest, err, want)
	}
}

func (c *agentTLS) response() (status, body string) {
	c.t.Helper()
	raw := &rawClient{t: c.t, r: c.r}
	status, _, body = raw.response()
	return status, body
}

// answers serves every bodyless request with response and passes its head on.
func answers(response string, heads chan string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, r *bufio.Reader) {
		for {
			head, err := readHead(r)
			if err != nil {
				return
			}
			if heads != nil {
				heads <- head
			}
			if _, err := io.WriteString(c, response); err != nil {
				return
			}
		}
	}
}
