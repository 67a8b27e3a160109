package capability

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode"
	"unicode/utf8"
)

// payload is the claims as the token carries them, by their names in it.
type payload struct {
	claims    Claims
	notBefore time.Time // zero when absent
	seen      map[string]bool
}

var required = [...]string{
	"token_id", "agent_id", "session_id", "context_hash", "resource_scope", "action_set", "iat", "exp",
}

// decode reads a payload whose signature is already verified. It is stricter
// than encoding/json: every name once and exactly as written, every value of its
// one type, nothing unknown. An unknown claim could be a limit we would not keep.
func decode(b []byte) (payload, error) {
	p := payload{seen: make(map[string]bool, len(required)+2)}
	if !utf8.Valid(b) {
		return p, errors.New("payload is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return p, errors.New("payload is not a JSON object")
	}
	for dec.More() {
		if err := p.member(dec); err != nil {
			return p, err
		}
	}
	if t, err := dec.Token(); err != nil || t != json.Delim('}') {
		return p, errors.New("payload is not a JSON object")
	}
	if _, err := dec.Token(); err != io.EOF {
		return p, errors.New("payload has more than one JSON value")
	}
	for _, name := range required {
		if !p.seen[name] {
			return p, fmt.Errorf("claim %s is missing", name)
		}
	}
	return p, check(p.claims)
}

func (p *payload) member(dec *json.Decoder) error {
	t, err := dec.Token()
	name, ok := t.(string)
	if err != nil || !ok {
		return errors.New("payload is not a JSON object")
	}
	if p.seen[name] {
		return fmt.Errorf("claim %.40q appears twice", name)
	}
	p.seen[name] = true
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		return fmt.Errorf("claim %.40q is not JSON", name)
	}
	if err := p.set(name, raw); err != nil {
		return fmt.Errorf("claim %.40q: %w", name, err)
	}
	return nil
}

func (p *payload) set(name string, raw json.RawMessage) error {
	c := &p.claims
	switch name {
	case "token_id":
		return text(raw, &c.TokenID)
	case "agent_id":
		return text(raw, &c.AgentID)
	case "session_id":
		return text(raw, &c.SessionID)
	case "context_hash":
		return text(raw, &c.ContextHash)
	case "resource_scope":
		return text(raw, &c.ResourceScope)
	case "action_set":
		return texts(raw, &c.ActionSet)
	case "iat":
		return instant(raw, &c.IssuedAt)
	case "exp":
		return instant(raw, &c.Expiry)
	case "nbf":
		return instant(raw, &p.notBefore)
	case "budget_ceiling":
		return number(raw, &c.BudgetCeiling)
	}
	return errors.New("unknown claim")
}

func text(raw json.RawMessage, into *string) error {
	if raw[0] != '"' {
		return errors.New("not a string")
	}
	return json.Unmarshal(raw, into)
}

func texts(raw json.RawMessage, into *[]string) error {
	var items []json.RawMessage
	if raw[0] != '[' || json.Unmarshal(raw, &items) != nil {
		return errors.New("not an array")
	}
	if len(items) > maxActions {
		return fmt.Errorf("more than %d entries", maxActions)
	}
	out := make([]string, len(items))
	for i, item := range items {
		if err := text(item, &out[i]); err != nil {
			return err
		}
	}
	*into = out
	return nil
}

// instant accepts RFC 3339 only, as Time.UnmarshalJSON does.
func instant(raw json.RawMessage, into *time.Time) error {
	if raw[0] != '"' || into.UnmarshalJSON(raw) != nil {
		return errors.New("not an RFC 3339 time")
	}
	*into = into.UTC()
	return nil
}

func number(raw json.RawMessage, into **float64) error {
	var f float64
	if raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') || json.Unmarshal(raw, &f) != nil {
		return errors.New("not a number")
	}
	*into = &f
	return nil
}

// plain reports whether s is short enough and can be logged as it is.
func plain(s string, limit int) bool {
	if len(s) > limit || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return false
		}
	}
	return true
}
