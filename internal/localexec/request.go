package localexec

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"strings"
)

// Request asks whether a command may be executed.
type Request struct {
	Action     string   `json:"action"`
	Executable string   `json:"executable"` // canonical path on the host
	Args       []string `json:"args"`       // without the program's own name

	// InvokedAs is the name the program is started under, where that is not the
	// last element of Executable: a program of many names does what it is called.
	InvokedAs string `json:"invoked_as,omitempty"`

	SandboxID      string `json:"sandbox_id"`
	SessionID      string `json:"session_id"`
	AgentID        string `json:"agent_id,omitempty"`
	Profile        string `json:"profile"`
	Mode           Mode   `json:"hitl_mode"`
	BudgetStateRef string `json:"budget_state_ref,omitempty"`
	Fingerprint    string `json:"request_fingerprint,omitempty"`
	ApprovalToken  string `json:"approval_token,omitempty"` // only when asking again
}

// Line is the request as sent, with its line feed. It fails for a command that
// JSON can't carry unchanged, such as an argument that is not UTF-8.
func (r *Request) Line() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	out := *r
	if out.Args == nil {
		out.Args = []string{}
	}
	line, err := encode(&out)
	if err == nil && len(line)-1 > MaxRequest {
		err = badFormat("the command has more than %d bytes", MaxRequest)
	}
	return line, err
}

// ParseRequest reads a request without its line feed. Errors are *FormatError.
func ParseRequest(line []byte) (Request, error) {
	var r Request
	var mode string
	err := fields{
		"action":              need(text(&r.Action, maxID)),
		"executable":          need(text(&r.Executable, MaxRequest)),
		"args":                need(list(&r.Args)),
		"invoked_as":          optional(text(&r.InvokedAs, MaxRequest)),
		"sandbox_id":          need(text(&r.SandboxID, maxID)),
		"session_id":          need(text(&r.SessionID, maxID)),
		"agent_id":            optional(text(&r.AgentID, maxID)),
		"profile":             need(text(&r.Profile, maxID)),
		"hitl_mode":           need(text(&mode, maxID)),
		"budget_state_ref":    optional(text(&r.BudgetStateRef, maxBudget)),
		"request_fingerprint": optional(text(&r.Fingerprint, maxID)),
		"approval_token":      optional(text(&r.ApprovalToken, maxID)),
	}.parse(line, MaxRequest)
	if err != nil {
		return Request{}, err
	}
	r.Mode = Mode(mode)
	if err := r.check(); err != nil {
		return Request{}, err
	}
	return r, nil
}

func (r *Request) check() error {
	if !path.IsAbs(r.Executable) || path.Clean(r.Executable) != r.Executable || r.Executable == "/" {
		return badFormat("executable: it is not a canonical path")
	}
	for _, s := range append([]string{r.Executable, r.InvokedAs}, r.Args...) {
		if err := checkText(s, MaxRequest); err != nil {
			return badFormat("the command can't be told: %s", err.Error())
		}
	}
	if err := r.checkIDs(); err != nil {
		return err
	}
	switch {
	case r.Mode != SyncWait && r.Mode != AsyncToken:
		return badFormat("hitl_mode: it must be %s or %s", SyncWait, AsyncToken)
	case r.Fingerprint != "" && !isHash(r.Fingerprint):
		return badFormat("request_fingerprint: it is not a SHA-256 in lower-case hex")
	}
	if err := checkText(r.BudgetStateRef, maxBudget); err != nil {
		return badFormat("budget_state_ref: %s", err.Error())
	}
	return nil
}

func (r *Request) checkIDs() error {
	for _, f := range []struct {
		key, value string
		optional   bool
	}{
		{"action", r.Action, false}, {"sandbox_id", r.SandboxID, false}, {"session_id", r.SessionID, false},
		{"agent_id", r.AgentID, true}, {"profile", r.Profile, false}, {"approval_token", r.ApprovalToken, true},
	} {
		if f.optional && f.value == "" {
			continue
		}
		if err := checkID(f.value); err != nil {
			return badFormat("%s: %s", f.key, err.Error())
		}
	}
	return nil
}

// FingerprintOf is the contract's digest of a command and of who runs it:
// lower-case hex SHA-256 over the executable, each argument, the session and the
// sandbox, each ended by a NUL, then the agent. None of them may hold a NUL. The
// number of arguments is not part of it, so it identifies a command only together
// with the session, the sandbox and the agent.
func FingerprintOf(r *Request) string {
	h := sha256.New()
	for _, s := range append(append([]string{r.Executable}, r.Args...), r.SessionID, r.SandboxID) {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	h.Write([]byte(r.AgentID))
	return hex.EncodeToString(h.Sum(nil))
}

func isHash(s string) bool {
	return len(s) == 2*sha256.Size && strings.Trim(s, "0123456789abcdef") == ""
}
