package capability

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"aidanwoods.dev/go-paseto"

	"firma/internal/action"
)

// Sign returns c as a PASETO v4.public string without a footer or an implicit
// assertion. Times are written in UTC and whole seconds, rounded down. It
// refuses claims that Verify would refuse, unknown action classes and a key that
// is not a matching 64-byte pair.
func Sign(key ed25519.PrivateKey, c Claims) (string, error) {
	secret, err := paseto.NewV4AsymmetricSecretKeyFromEd25519(key)
	if err != nil {
		return "", fmt.Errorf("signing key: %w", err)
	}
	c.IssuedAt, c.Expiry = wholeSeconds(c.IssuedAt), wholeSeconds(c.Expiry)
	if err := checkIssue(c); err != nil {
		return "", err
	}
	t, err := build(c)
	if err != nil {
		return "", err
	}
	raw := t.V4Sign(secret, nil)
	if len(raw) > maxRaw {
		return "", fmt.Errorf("token has %d bytes, more than %d", len(raw), maxRaw)
	}
	return raw, nil
}

func wholeSeconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// build writes nbf too, with the value of iat, as the contract's library does.
func build(c Claims) (paseto.Token, error) {
	t := paseto.NewToken()
	t.SetIssuedAt(c.IssuedAt)
	t.SetNotBefore(c.IssuedAt)
	t.SetExpiration(c.Expiry)
	t.SetString("token_id", c.TokenID)
	t.SetString("agent_id", c.AgentID)
	t.SetString("session_id", c.SessionID)
	t.SetString("context_hash", c.ContextHash)
	t.SetString("resource_scope", c.ResourceScope)
	err := t.Set("action_set", c.ActionSet)
	if err == nil && c.BudgetCeiling != nil {
		err = t.Set("budget_ceiling", *c.BudgetCeiling)
	}
	return t, err
}

// checkIssue is check plus what only an issuer can know: the registry.
func checkIssue(c Claims) error {
	for _, a := range c.ActionSet {
		if a != AnyClass && !action.Known(action.Class(a)) {
			return fmt.Errorf("action_set: %q is not an action class", a)
		}
	}
	return check(c)
}

// check holds for every token, signed here or elsewhere.
func check(c Claims) error {
	ids := [...]struct{ name, value string }{
		{"token_id", c.TokenID}, {"agent_id", c.AgentID}, {"session_id", c.SessionID},
	}
	for _, id := range ids {
		if id.value == "" || !plain(id.value, maxText) {
			return fmt.Errorf("%s is empty, too long or has control characters", id.name)
		}
	}
	if !plain(c.ContextHash, maxText) {
		return errors.New("context_hash is too long or has control characters")
	}
	if err := checkActions(c.ActionSet); err != nil {
		return err
	}
	if err := ValidScope(c.ResourceScope); err != nil {
		return fmt.Errorf("resource_scope: %w", err)
	}
	return checkNumbers(c)
}

func checkActions(set []string) error {
	if len(set) == 0 || len(set) > maxActions {
		return fmt.Errorf("action_set has %d entries, want 1 to %d", len(set), maxActions)
	}
	for i, a := range set {
		if a == "" || !plain(a, maxText) {
			return errors.New("action_set has an entry that is empty, too long or has control characters")
		}
		// A repeated class would change the order of selection, which counts entries.
		if slices.Contains(set[:i], a) {
			return fmt.Errorf("action_set names %q twice", a)
		}
	}
	return nil
}

func checkNumbers(c Claims) error {
	if !c.IssuedAt.Before(c.Expiry) {
		return errors.New("exp is not after iat")
	}
	if y := c.Expiry.Year(); c.IssuedAt.Year() < 1 || y > 9999 {
		return errors.New("iat or exp is outside the years 1 to 9999")
	}
	if b := c.BudgetCeiling; b != nil && (math.IsNaN(*b) || math.IsInf(*b, 0) || *b < 0) {
		return errors.New("budget_ceiling is not a number of at least 0")
	}
	return nil
}
