// Package capability signs, verifies and selects capability tokens: PASETO
// v4.public strings that say which action classes an agent may use on which
// resources, in which session, until when. It is pure: it opens nothing and
// takes the time as an argument. docs/capability-tokens.md is the format.
package capability

import (
	"time"

	"firma/internal/verdict"
)

// AnyClass in an action set stands for every action class.
const AnyClass = "*"

// Limits on what is signed and what is accepted, in bytes unless said
// otherwise. A token of all 52 classes is about 2 KiB.
const (
	maxRaw     = 16 << 10 // the whole PASETO string
	maxText    = 512      // one identifier, class or hash
	maxScope   = 2 << 10  // the resource scope
	maxActions = 256      // entries of an action set
)

// Claims is what a token says. Times have whole seconds in a signed token.
type Claims struct {
	TokenID       string
	AgentID       string
	SessionID     string
	ContextHash   string // hex SHA-256 of the policy context at issuance, or ""
	ResourceScope string // see ParseScope
	ActionSet     []string
	IssuedAt      time.Time
	Expiry        time.Time
	BudgetCeiling *float64 // nil when the token has none
}

// Token is a verified token: Verify is the only source of one that came from
// outside. It is immutable, ActionSet included, and safe for concurrent use.
type Token struct {
	Claims
	Raw string // the PASETO string; never logged, never shown to the agent
}

// Error is a refusal of Stage 1. Detail is one sentence without token text.
type Error struct {
	Reason verdict.Reason
	Detail string
}

func (e *Error) Error() string { return string(e.Reason) + ": " + e.Detail }

func invalid(detail string) *Error {
	return &Error{Reason: verdict.CapabilityInvalid, Detail: detail}
}
