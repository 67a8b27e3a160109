package wire

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
)

// PreSharedKey is the secret that tells an Authority who is calling. It prints
// and logs as "[redacted]"; convert to string to send it.
type PreSharedKey string

// NewPreSharedKey returns a key of 128 random bits or more, for one run.
func NewPreSharedKey() PreSharedKey { return PreSharedKey(rand.Text()) }

// Matches reports whether given is the key, in time that depends on neither its
// content nor its length. The empty key matches nothing.
func (k PreSharedKey) Matches(given string) bool {
	want, got := sha256.Sum256([]byte(k)), sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1 && k != ""
}

// String hides the key.
func (k PreSharedKey) String() string { return "[redacted]" }

// GoString hides the key from %#v.
func (k PreSharedKey) GoString() string { return "[redacted]" }

// LogValue hides the key from slog.
func (k PreSharedKey) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalText hides the key from encoders (an effective configuration printed
// as JSON, say). There is no UnmarshalText: a key is not read back.
func (k PreSharedKey) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }
