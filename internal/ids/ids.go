// Package ids makes the identifiers firma writes: TypeIDs, that is a prefix and
// a UUIDv7 in Crockford base32 (TypeID specification 0.3).
package ids

import (
	"encoding/binary"

	"github.com/google/uuid"
)

// The prefixes of the contract.
const (
	Agent   = "agt"
	Token   = "ctok"
	Sandbox = "sbx"
	Event   = "aevt"
	Sidecar = "scr" // ours: a Sidecar that stands alone
)

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// New returns prefix + "_" + 26 characters, sortable by time. It is safe for
// concurrent use and panics only when the system has no randomness.
func New(prefix string) string {
	u := uuid.Must(uuid.NewV7())
	hi, lo := binary.BigEndian.Uint64(u[:8]), binary.BigEndian.Uint64(u[8:])
	out := make([]byte, len(prefix)+1+26)
	copy(out, prefix)
	out[len(prefix)] = '_'
	for i := len(out) - 1; i > len(prefix); i-- {
		out[i] = alphabet[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(out)
}

// Valid reports whether s is prefix + "_" + a 128-bit value in the alphabet of
// TypeIDs. Paths are built from identifiers only after this check.
func Valid(prefix, s string) bool {
	if len(s) != len(prefix)+27 || s[:len(prefix)] != prefix || s[len(prefix)] != '_' {
		return false
	}
	for i, c := range []byte(s[len(prefix)+1:]) {
		ok := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' && c != 'i' && c != 'l' && c != 'o' && c != 'u'
		if !ok || i == 0 && c > '7' {
			return false
		}
	}
	return true
}
