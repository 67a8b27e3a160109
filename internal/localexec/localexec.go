// Package localexec is the vocabulary of the command gate: what `firma run` asks
// before it executes the agent's command, what may be answered, and the rules of
// approval tokens. Everything in it is a pure function of its arguments.
//
// The format is one JSON object per line in each direction
// (docs/architecture/command-governance-local-exec-contract.md). Every name is
// read once and exactly as written, and nothing unknown is passed over: a word
// that this version does not know could be a limit that it would not keep.
package localexec

import "fmt"

// The actions of a request. Approve and Revoke belong to the management socket.
const (
	ActionExec    = "local.exec"
	ActionApprove = "local.exec.approve"
	ActionRevoke  = "local.exec.revoke"
)

// Longest lines in bytes, without the line feed. A request can't be longer than
// what the launcher can hand to a sandbox.
const (
	MaxRequest  = 1 << 20
	MaxResponse = 16 << 10
)

// Longest texts in bytes.
const (
	maxID     = 256
	maxReason = 1024
	maxBudget = 1024
)

// Decision is the gate's word. The zero value, like every word but Allow, means
// that nothing is executed.
type Decision string

// The decisions.
const (
	Allow   Decision = "allow"
	Deny    Decision = "deny"
	Pending Decision = "pending_hitl" // a person has to say
)

// Mode is what a launch does about Pending.
type Mode string

// The modes.
const (
	SyncWait   Mode = "sync_wait"   // it fails
	AsyncToken Mode = "async_token" // it asks again with the token it was given
)

// FormatError is a line that is not what the contract says.
type FormatError struct{ Why string }

func (e *FormatError) Error() string { return e.Why }

func badFormat(format string, args ...any) error {
	return &FormatError{Why: fmt.Sprintf(format, args...)}
}

// UnknownDecision is a well-formed response with a decision that has no meaning.
type UnknownDecision struct{ Word string }

func (e *UnknownDecision) Error() string { return fmt.Sprintf("unknown decision %.40q", e.Word) }
