package audit

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"

	"firma/internal/fault"
)

// Key is the audit signing key: ECDSA P-256 or Ed25519. It is immutable, safe
// for concurrent use, and prints as its identifier.
type Key struct {
	signer crypto.Signer
	public *publicKey
}

// Public returns the public half: *ecdsa.PublicKey or ed25519.PublicKey.
func (k *Key) Public() crypto.PublicKey { return k.signer.Public() }

// ID returns the hex SHA-256 of the public key's DER SubjectPublicKeyInfo.
func (k *Key) ID() string { return k.public.id }

// String returns the identifier, never the secret.
func (k *Key) String() string { return "audit key " + k.public.id }

// GoString keeps the secret out of %#v.
func (k *Key) GoString() string { return k.String() }

// sign signs message: ECDSA over its SHA-256 as ASN.1 DER, or pure Ed25519.
func (k *Key) sign(message []byte) ([]byte, error) {
	if _, ok := k.signer.(ed25519.PrivateKey); ok {
		return k.signer.Sign(nil, message, crypto.Hash(0))
	}
	digest := sha256.Sum256(message)
	return k.signer.Sign(rand.Reader, digest[:], crypto.SHA256)
}

// ParseKey reads a PKCS#8 PEM private key. source names it in errors.
func ParseKey(source string, text []byte) (*Key, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, badKey(errors.New("no PEM block of type PRIVATE KEY"), source)
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, badKey(err, source)
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, badKey(errors.New("not a signing key"), source)
	}
	return newKey(source, signer)
}

func newKey(source string, signer crypto.Signer) (*Key, error) {
	public, err := newPublicKey(signer.Public())
	if err != nil {
		return nil, badKey(err, source)
	}
	return &Key{signer, public}, nil
}

func badKey(err error, source string) error {
	return fault.Wrap(err, "AuditKeyInvalid", "the audit key "+source+" cannot be used",
		"give an ECDSA P-256 or Ed25519 key as PKCS#8 PEM; `openssl pkcs8 -topk8 -nocrypt` converts other PEM forms")
}

// ParsePublicKey reads a PEM public key (SubjectPublicKeyInfo) that Verify
// accepts. source names it in errors.
func ParsePublicKey(source string, text []byte) (crypto.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, badKey(errors.New("no PEM block of type PUBLIC KEY"), source)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, badKey(err, source)
	}
	if _, err := newPublicKey(key); err != nil {
		return nil, badKey(err, source)
	}
	return key, nil
}

// publicKey is a verification key with its identifier.
type publicKey struct {
	key crypto.PublicKey
	id  string
}

func newPublicKey(key crypto.PublicKey) (*publicKey, error) {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return nil, errors.New("the curve is not P-256")
		}
	case ed25519.PublicKey:
	default:
		return nil, errors.New("neither ECDSA P-256 nor Ed25519")
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256(der)
	return &publicKey{key, hex.EncodeToString(id[:])}, nil
}

// verify reports whether sig is what Key.sign returns for message.
func (p *publicKey) verify(message, sig []byte) bool {
	switch k := p.key.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(k, message, sig)
	case *ecdsa.PublicKey:
		digest := sha256.Sum256(message)
		return ecdsa.VerifyASN1(k, digest[:], sig)
	}
	return false
}
