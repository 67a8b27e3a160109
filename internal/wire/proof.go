package wire

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
)

// A proof tells a Sidecar, on a connection without TLS, that the listener at the
// address it dialled holds the Authority's signing key. It is asked for once per
// connection, before any credential is sent, with
//
//	GET /firma/proof?nonce=<64 hex digits>
//
// and answered with the 64 raw bytes of an Ed25519 signature over ProofMessage.
// The address stops a listener elsewhere on the machine from passing the
// question on to the true Authority.
const (
	ProofPath  = "/firma/proof"
	ProofParam = "nonce"
	nonceBytes = 32
)

// NewNonce returns a fresh nonce in the form ValidNonce accepts.
func NewNonce() string {
	var b [nonceBytes]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// ValidNonce reports whether s is 64 lower-case hex digits. An Authority signs
// nothing else.
func ValidNonce(s string) bool {
	if len(s) != 2*nonceBytes {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// ProofMessage is what is signed: it can be no other message firma signs, since
// every other one (a PASETO pre-authentication encoding, a note) starts
// differently. addr is "ip:port" as the operating system reports the listener's
// end of the connection.
func ProofMessage(nonce, addr string) []byte {
	return []byte("firma authority proof v1\n" + nonce + "\n" + addr + "\n")
}

// VerifyProof reports whether sig proves that the holder of pub answered nonce
// at addr.
func VerifyProof(pub ed25519.PublicKey, nonce, addr string, sig []byte) bool {
	return len(pub) == ed25519.PublicKeySize && ValidNonce(nonce) &&
		ed25519.Verify(pub, ProofMessage(nonce, addr), sig)
}
