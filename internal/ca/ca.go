// Package ca is the certificate authority behind interception: one P-256 key and
// certificate, short-lived for a run, kept in two files for a Sidecar that stands
// alone, and the leaf certificates it issues for the hosts that are looked into.
package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"time"
)

// Lifetimes. What is issued is valid from a while ago, for clients whose clock is
// behind.
const (
	RunLifetime  = 24 * time.Hour       // of a run's own authority
	FileLifetime = 365 * 24 * time.Hour // of one kept in files
	backdate     = time.Hour
)

// CA issues leaf certificates. It is immutable and safe for concurrent use, and
// prints as its fingerprint.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// New makes a fresh one, valid for validFor from now.
func New(validFor time.Duration) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: serial,
		// The name holds part of the serial number: two authorities never look
		// alike to a client that finds issuers by name.
		Subject:               pkix.Name{CommonName: "firma " + serial.Text(16)[:8], Organization: []string{"firma"}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(validFor),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &CA{cert, key}, nil
}

func newSerial() (*big.Int, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, err
	}
	b[0] = b[0]&0x3f | 0x40 // positive, and of full length (RFC 5280, section 4.1.2.2)
	return new(big.Int).SetBytes(b[:]), nil
}

// FromDER is the inverse of DER. The key must be the certificate's, which must be
// an authority's and valid now.
func FromDER(cert, key []byte) (*CA, error) {
	c, err := x509.ParseCertificate(cert)
	if err != nil {
		return nil, err
	}
	k, err := x509.ParseECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	pub, ok := c.PublicKey.(*ecdsa.PublicKey)
	now := time.Now()
	switch {
	case !ok || !pub.Equal(k.Public()):
		return nil, errors.New("the key is not the certificate's")
	case k.Curve != elliptic.P256():
		return nil, errors.New("the key is not on the curve P-256")
	case !c.BasicConstraintsValid || !c.IsCA || c.KeyUsage&x509.KeyUsageCertSign == 0:
		return nil, errors.New("the certificate is not a certificate authority's")
	case now.Before(c.NotBefore):
		return nil, errors.New("the certificate is not valid yet; check the clock")
	case now.After(c.NotAfter):
		return nil, errors.New("the certificate has expired")
	}
	return &CA{c, k}, nil
}

// DER returns the certificate and its key (SEC 1), for another process of firma.
func (c *CA) DER() (cert, key []byte, err error) {
	key, err = x509.MarshalECPrivateKey(c.key)
	return c.cert.Raw, key, err
}

// CertPEM returns the certificate, which is public.
func (c *CA) CertPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})
}

// Certificate returns the certificate. It must not be changed.
func (c *CA) Certificate() *x509.Certificate { return c.cert }

// Fingerprint returns the hex SHA-256 of the certificate.
func (c *CA) Fingerprint() string {
	sum := sha256.Sum256(c.cert.Raw)
	return hex.EncodeToString(sum[:])
}

// String returns the fingerprint, never the key.
func (c *CA) String() string { return "certificate authority sha256:" + c.Fingerprint() }

// GoString keeps the key out of %#v.
func (c *CA) GoString() string { return c.String() }
