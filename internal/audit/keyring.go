package audit

import (
	"crypto"
	"errors"

	"firma/internal/fault"
)

// keyring holds the keys that may have signed a log, by identifier.
type keyring map[string]*publicKey

func newKeyring(key crypto.PublicKey, old []crypto.PublicKey) (keyring, error) {
	ring := keyring{}
	for _, k := range append([]crypto.PublicKey{key}, old...) {
		p, err := newPublicKey(k)
		if err != nil {
			return nil, badKey(err, "to verify with")
		}
		ring[p.id] = p
	}
	return ring, nil
}

var (
	errForeignKey   = errors.New("it is signed by another key")
	errBadSignature = errors.New("its signature does not fit: it was edited or forged")
)

// check verifies the signature of c.
func (ring keyring) check(c *Checkpoint) error {
	key, ok := ring[c.KeyID]
	if !ok {
		return errForeignKey
	}
	if !key.verify(c.Body(), c.Signature) {
		return errBadSignature
	}
	return nil
}

// signed reports whether one of the keys signed e.
func (ring keyring) signed(e *Event) bool {
	for _, key := range ring {
		if e.signed(key) {
			return true
		}
	}
	return false
}

// CheckCheckpoint verifies the signature of c, as printed at the end of a run or
// kept by a witness.
func CheckCheckpoint(c *Checkpoint, key crypto.PublicKey) error {
	ring, err := newKeyring(key, nil)
	if err != nil {
		return err
	}
	if err := ring.check(c); err != nil {
		return fault.Wrap(err, "AuditCheckpointInvalid", "the checkpoint does not hold",
			"compare with the copies kept elsewhere, and make sure that this is the key of the log")
	}
	return nil
}
