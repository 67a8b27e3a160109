// Package keys makes, keeps and uses the Authority's Ed25519 signing key. The
// private half never leaves this package: others ask it to sign one of the two
// things it signs.
package keys

import (
	"crypto/ed25519"
	"crypto/rand"

	"firma/internal/capability"
	"firma/internal/wire"
)

// Signer holds one private key. It is immutable and safe for concurrent use.
type Signer struct{ key ed25519.PrivateKey }

// Ephemeral returns a key that exists in this process only.
func Ephemeral() (*Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return &Signer{key}, err
}

// Public returns the 32 bytes that verify what this key signs.
func (s *Signer) Public() ed25519.PublicKey { return s.key.Public().(ed25519.PublicKey) }

// Token signs claims and returns the whole PASETO string.
func (s *Signer) Token(c capability.Claims) (string, error) { return capability.Sign(s.key, c) }

// Prove answers a Sidecar's question who listens at addr; see wire.ProofMessage.
// It returns nil for anything but a well-formed nonce.
func (s *Signer) Prove(nonce, addr string) []byte {
	if !wire.ValidNonce(nonce) {
		return nil
	}
	return ed25519.Sign(s.key, wire.ProofMessage(nonce, addr))
}
