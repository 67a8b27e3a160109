package capability

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"aidanwoods.dev/go-paseto"

	"firma/internal/verdict"
)

const header = "v4.public."

// Verify checks raw against pub at the time now and returns the token. The
// order is: form, signature, payload, times. Clocks may differ by skew (a
// negative one counts as zero): the token is expired once exp + skew <= now, and
// not yet valid while iat or nbf is later than now + skew. Errors are *Error
// with CapabilityInvalid or CapabilityExpired.
func Verify(pub ed25519.PublicKey, raw string, now time.Time, skew time.Duration) (*Token, error) {
	body, err := verified(pub, raw)
	if err != nil {
		return nil, invalid(err.Error())
	}
	p, err := decode(body)
	if err != nil {
		return nil, invalid(err.Error())
	}
	if late := now.Add(max(skew, 0)); p.claims.IssuedAt.After(late) || p.notBefore.After(late) {
		return nil, invalid("the token is not valid yet; compare the clocks of the Authority and this host")
	}
	if expired(p.claims.Expiry, now, skew) {
		return nil, &Error{verdict.CapabilityExpired, expiredAt(p.claims.Expiry)}
	}
	return &Token{Claims: p.claims, Raw: raw}, nil
}

// verified returns the payload bytes that pub signed. The library drops
// repeated JSON names, so the payload is cut from the string it accepted.
func verified(pub ed25519.PublicKey, raw string) ([]byte, error) {
	encoded, err := form(raw)
	if err != nil {
		return nil, err
	}
	if weakKey(pub) {
		return nil, fmt.Errorf("the public key is not a usable Ed25519 key")
	}
	key, err := paseto.NewV4AsymmetricPublicKeyFromEd25519(pub)
	if err != nil {
		return nil, fmt.Errorf("the public key is not a usable Ed25519 key")
	}
	if _, err := paseto.NewParserWithoutExpiryCheck().ParseV4Public(key, raw, nil); err != nil {
		return nil, fmt.Errorf("the signature does not verify with the Authority's public key")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil || len(b) < ed25519.SignatureSize {
		return nil, fmt.Errorf("the token is not base64url")
	}
	return b[:len(b)-ed25519.SignatureSize], nil
}

// form returns the one segment after the header. A footer, even an empty one,
// another version or another purpose is refused before any cryptography.
func form(raw string) (string, error) {
	if len(raw) > maxRaw {
		return "", fmt.Errorf("the token has %d bytes, more than %d", len(raw), maxRaw)
	}
	encoded, ok := strings.CutPrefix(raw, header)
	if !ok {
		return "", fmt.Errorf("the token does not start with %s", header)
	}
	if strings.Contains(encoded, ".") {
		return "", fmt.Errorf("the token has a footer")
	}
	for i := range len(encoded) {
		if !base64url(encoded[i]) {
			return "", fmt.Errorf("the token is not base64url")
		}
	}
	return encoded, nil
}

func base64url(b byte) bool {
	return b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || b == '-' || b == '_'
}

func expired(expiry, now time.Time, skew time.Duration) bool {
	return !now.Before(expiry.Add(max(skew, 0)))
}

func expiredAt(t time.Time) string {
	return "the token expired at " + t.UTC().Format(time.RFC3339)
}
