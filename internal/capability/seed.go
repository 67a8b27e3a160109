package capability

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pelletier/go-toml/v2"

	"firma/internal/fault"
)

const maxSeed = 64 << 10 // bytes of a seed file

// Seed is a capability seed file: the token and a readable copy of its claims.
// Only RawToken is believed; Seed.Token refuses a copy that differs.
type Seed struct {
	RawToken      string   `toml:"raw_token"`
	TokenID       string   `toml:"token_id"`
	AgentID       string   `toml:"agent_id"`
	SessionID     string   `toml:"session_id"`
	ActionSet     []string `toml:"action_set"`
	ResourceScope string   `toml:"resource_scope"`
	IssuedAt      string   `toml:"issued_at"` // RFC 3339
	Expiry        string   `toml:"expiry"`    // RFC 3339
	ContextHash   string   `toml:"context_hash"`
}

// NewSeed returns the seed of a verified token.
func NewSeed(t *Token) Seed {
	return Seed{
		RawToken:      t.Raw,
		TokenID:       t.TokenID,
		AgentID:       t.AgentID,
		SessionID:     t.SessionID,
		ActionSet:     slices.Clone(t.ActionSet),
		ResourceScope: t.ResourceScope,
		IssuedAt:      t.IssuedAt.UTC().Format(time.RFC3339Nano),
		Expiry:        t.Expiry.UTC().Format(time.RFC3339Nano),
		ContextHash:   t.ContextHash,
	}
}

// ParseSeed reads a seed file; name is used in errors only. It checks the form,
// Seed.Token the content. Errors are *fault.Error.
func ParseSeed(name string, data []byte) (Seed, error) {
	var s Seed
	if len(data) > maxSeed {
		return s, seedFault(name, fmt.Errorf("the file has more than %d bytes", maxSeed))
	}
	dec := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return Seed{}, seedFault(name, located(err))
	}
	if s.RawToken == "" {
		return Seed{}, seedFault(name, errors.New("raw_token is missing"))
	}
	return s, nil
}

// located puts line and column before a TOML error. Only the name of an unknown
// key is repeated, never a value: the file holds the token.
func located(err error) error {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) && len(strict.Errors) > 0 {
		e := strict.Errors[0]
		row, col := e.Position()
		return fmt.Errorf("%d:%d: unknown key %.80q", row, col, fmt.Sprint(e.Key()))
	}
	var bad *toml.DecodeError
	if errors.As(err, &bad) {
		row, col := bad.Position()
		return fmt.Errorf("%d:%d: not the TOML of a seed", row, col)
	}
	return errors.New("not the TOML of a seed")
}

func seedFault(name string, err error) error {
	return fault.Wrap(err, "CapabilitySeedInvalid",
		fmt.Sprintf("The capability seed %s can't be used.", name),
		"Issue it again with `firma authority issue --output FILE`; a seed is not edited by hand.")
}

// Marshal returns the TOML of the seed. Write it atomically and owner-only: who
// reads it holds the capability.
func (s Seed) Marshal() []byte {
	b, err := toml.Marshal(s)
	if err != nil {
		// Strings and a slice of strings always encode.
		panic("capability: seed: " + err.Error())
	}
	return b
}

// Token verifies RawToken as Verify does and then the readable copy against it.
// Errors are *Error; a copy that differs is CapabilityInvalid.
func (s Seed) Token(pub ed25519.PublicKey, now time.Time, skew time.Duration) (*Token, error) {
	t, err := Verify(pub, s.RawToken, now, skew)
	if err != nil {
		return nil, err
	}
	if key := s.mismatch(t); key != "" {
		return nil, invalid("the seed's " + key + " differs from the token's")
	}
	return t, nil
}

// mismatch returns the first key whose value is not the token's, or "".
func (s Seed) mismatch(t *Token) string {
	switch {
	case s.TokenID != t.TokenID:
		return "token_id"
	case s.AgentID != t.AgentID:
		return "agent_id"
	case s.SessionID != t.SessionID:
		return "session_id"
	case !slices.Equal(s.ActionSet, t.ActionSet):
		return "action_set"
	case s.ResourceScope != t.ResourceScope:
		return "resource_scope"
	case !sameInstant(s.IssuedAt, t.IssuedAt):
		return "issued_at"
	case !sameInstant(s.Expiry, t.Expiry):
		return "expiry"
	case s.ContextHash != t.ContextHash:
		return "context_hash"
	}
	return ""
}

func sameInstant(s string, t time.Time) bool {
	got, err := time.Parse(time.RFC3339, s)
	return err == nil && got.Equal(t)
}
