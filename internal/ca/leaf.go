package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"firma/internal/intent"
)

// Defaults of Leaves.
const (
	DefaultTTL      = 24 * time.Hour
	DefaultCapacity = 1024
)

// Leaves issues and keeps the certificates of the hosts that are looked into. All
// of them have one key, made for this process. It is safe for concurrent use.
type Leaves struct {
	ca  *CA
	key *ecdsa.PrivateKey
	max int
	ttl time.Duration
	now func() time.Time

	mu   sync.Mutex
	kept map[string]*leaf
}

type leaf struct {
	once sync.Once
	cert *tls.Certificate
	err  error
	good time.Time // when it must be made again
	used time.Time
}

// Leaves returns a cache of at most capacity certificates, each kept for ttl at
// most. Zero means the default.
func (c *CA) Leaves(capacity int, ttl time.Duration) (*Leaves, error) {
	if capacity <= 0 {
		capacity = DefaultCapacity
	}
	if ttl <= 0 {
		ttl = DefaultTTL
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return &Leaves{ca: c, key: key, max: capacity, ttl: ttl, now: time.Now, kept: map[string]*leaf{}}, nil
}

// For returns the certificate of host, which must be canonical
// (intent.CanonicalHost): anything else is an error and leaves no trace here. The
// result is shared and must not be changed.
func (l *Leaves) For(host string) (*tls.Certificate, error) {
	canonical, addr, err := intent.CanonicalHost(host)
	if err != nil {
		return nil, err
	}
	if canonical != host || strings.Contains(host, "*") {
		return nil, errors.New("ca: the host is not in canonical form")
	}
	e := l.entry(host)
	e.once.Do(func() { e.cert, e.err = l.issue(host, addr, e.good) })
	return e.cert, e.err
}

// entry finds or makes room for host.
func (l *Leaves) entry(host string) *leaf {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if e := l.kept[host]; e != nil && now.Before(e.good) {
		e.used = now
		return e
	}
	if len(l.kept) >= l.max {
		l.evict()
	}
	e := &leaf{good: now.Add(l.ttl), used: now}
	if end := l.ca.cert.NotAfter; end.Before(e.good) {
		e.good = end
	}
	l.kept[host] = e
	return e
}

// evict removes the one not used for longest. It looks at all of them: issuing a
// certificate costs more.
func (l *Leaves) evict() {
	oldest := ""
	for host, e := range l.kept {
		if oldest == "" || e.used.Before(l.kept[oldest].used) {
			oldest = host
		}
	}
	delete(l.kept, oldest)
}

func (l *Leaves) issue(host string, addr netip.Addr, until time.Time) (*tls.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	from := l.now().Add(-backdate)
	if from.Before(l.ca.cert.NotBefore) {
		from = l.ca.cert.NotBefore
	}
	// A connection may begin with the certificate's last moment in the cache.
	if until = until.Add(backdate); until.After(l.ca.cert.NotAfter) {
		until = l.ca.cert.NotAfter
	}
	t := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{Organization: []string{"firma"}},
		NotBefore:    from, NotAfter: until,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if addr.IsValid() {
		t.IPAddresses = []net.IP{addr.AsSlice()}
	} else {
		t.DNSNames = []string{host}
		if len(host) <= 64 { // ub-common-name; some old clients look here only
			t.Subject.CommonName = host
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, l.ca.cert, l.key.Public(), l.ca.key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, l.ca.cert.Raw}, PrivateKey: l.key, Leaf: parsed}, nil
}
