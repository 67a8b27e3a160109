// Package verdict holds the words of a decision: its outcome, its reason and the
// value that carries both through the Sidecar. The zero value of every type
// denies.
package verdict

import (
	"strings"
	"time"
	"unicode"
)

// Outcome is the contract's decision number (firma.v1 EnforcementDecision).
type Outcome uint8

// The outcomes. Unspecified is the zero value and is treated as Deny.
const (
	Unspecified Outcome = 0
	Allow       Outcome = 1
	Deny        Outcome = 2
	Abort       Outcome = 3
	Modify      Outcome = 4
	StepUp      Outcome = 5
	Defer       Outcome = 6
)

// Passthrough is the outcome word of an unmapped call let through because
// default_protected is false; its number on the wire is Allow's.
const Passthrough = "PASSTHROUGH"

// String returns the upper-case word of the contract.
func (o Outcome) String() string {
	switch o {
	case Allow:
		return "ALLOW"
	case Abort:
		return "ABORT"
	case Modify:
		return "MODIFY"
	case StepUp:
		return "STEP_UP"
	case Defer:
		return "DEFER"
	}
	return "DENY"
}

// Dispatches reports whether the call may leave the Sidecar.
func (o Outcome) Dispatches() bool { return o == Allow || o == Modify }

// Reason says why a call was refused: one CamelCase word, the same in the
// agent's body, the audit log, the exit summary and the documentation.
type Reason string

// The reasons. None accompanies an Allow only.
const (
	None                    Reason = ""
	CapabilityNotFound      Reason = "CapabilityNotFound"
	CapabilityInvalid       Reason = "CapabilityInvalid"
	CapabilityExpired       Reason = "CapabilityExpired"
	CapabilityRevoked       Reason = "CapabilityRevoked"
	CapabilityScopeMismatch Reason = "CapabilityScopeMismatch"
	UnclassifiedIntent      Reason = "UnclassifiedIntent"
	MalformedRequest        Reason = "MalformedRequest"
	PolicyDenied            Reason = "PolicyDenied"
	PolicyBundleStale       Reason = "PolicyBundleStale"
	PolicyBundleNotReady    Reason = "PolicyBundleNotReady"
	RevocationCacheNotReady Reason = "RevocationCacheNotReady"
	EnforcementTimeout      Reason = "EnforcementTimeout"
	StepUpRequired          Reason = "StepUpRequired"
	Deferred                Reason = "Deferred"
	LoopbackBlocked         Reason = "LoopbackBlocked"
	TenantMismatch          Reason = "TenantMismatch"
	FailClosed              Reason = "FailClosed"
	DestinationForbidden    Reason = "DestinationForbidden"
	NameNotRoutable         Reason = "NameNotRoutable"
	ExecDenied              Reason = "ExecDenied"
	AuditUnavailable        Reason = "AuditUnavailable"
	RequestBodyTooLarge     Reason = "RequestBodyTooLarge"
	RateLimited             Reason = "RateLimited"
	SessionMemoryExhausted  Reason = "SessionMemoryExhausted"
)

// The abort codes of the contract: the call was allowed, the dispatch failed.
const (
	ConnectorTimeout          Reason = "CONNECTOR_TIMEOUT"
	ConnectorFailure          Reason = "CONNECTOR_FAILURE"
	ConnectorInvalidRequest   Reason = "CONNECTOR_INVALID_REQUEST"
	CredentialInjectionFailed Reason = "CREDENTIAL_INJECTION_FAILED"
)

// Words returns the reason as lower-case words, the form the audit log's
// deny_reason starts with ("policy denied"). Abort codes stay as they are.
func (r Reason) Words() string {
	if strings.Contains(string(r), "_") {
		return string(r)
	}
	var b strings.Builder
	for i, c := range string(r) {
		if unicode.IsUpper(c) && i > 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}

// Decision is what Enforce returns. The zero value denies with no reason, which
// callers must treat as FailClosed. It is a value: callers may copy it.
type Decision struct {
	Outcome     Outcome
	Passthrough bool   // an Allow that no rule covered (default_protected = false)
	Reason      Reason // None when the call dispatches
	Detail      string // one sentence for the agent and the log; no secrets
	Hint        string // what would make it allowed, for the agent; may be empty

	ActionClass string
	Resource    string // host + path, as audited
	EventID     string // audit event of this decision, "" if auditing failed

	// RedactHeaders are removed from the dispatched request (outcome Modify).
	RedactHeaders []string
	// Accepts is for a tunnel: what its first bytes may be besides the ClientHello
	// for its host.
	Accepts Accepts
	// RetryAfter accompanies Defer, and refusals that end by themselves.
	RetryAfter time.Duration
}
