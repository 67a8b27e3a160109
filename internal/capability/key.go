package capability

import (
	"crypto/ed25519"
	"encoding/hex"
)

// smallOrder lists the y coordinates, sign bit cleared, of the points of order
// 1, 2, 4 and 8 of edwards25519, in every 32-byte encoding that decodes. Under
// such a key signatures can be made without a private key; the all-zero key is
// one of them.
var smallOrder = [...]string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

// weakKey reports whether pub is not a public key anyone should trust.
func weakKey(pub ed25519.PublicKey) bool {
	if len(pub) != ed25519.PublicKeySize {
		return true
	}
	y := [ed25519.PublicKeySize]byte(pub)
	y[31] &= 0x7f
	got := hex.EncodeToString(y[:])
	for _, bad := range smallOrder {
		if got == bad {
			return true
		}
	}
	return false
}
