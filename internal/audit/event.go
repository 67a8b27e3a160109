package audit

import (
	"encoding/json"
	"time"

	"firma/internal/audit/canon"
	"firma/internal/verdict"
)

// Schema names the event format. A field added or changed means a new name.
const Schema = "firma.audit.v1"

// The kinds of event.
const (
	KindRunStart = "run.start" // first event of a run; info holds its posture
	KindRunEnd   = "run.end"
	KindLaunch   = "launch" // the agent's command, or a refused execution
	KindRequest  = "request"
	KindTunnel   = "tunnel"
	KindStream   = "stream"   // a connection that is looked into, or said nothing; its calls are events of their own
	KindDispatch = "dispatch" // how an allowed call ended
	KindDNS      = "dns"
	KindEgress   = "egress" // a destination refused after the decision
)

// MaxEventBytes bounds one line of the log, without its line feed. The largest
// header block firma reads is 128 KiB, six times that if every byte is escaped.
const MaxEventBytes = 1 << 20

// Event is one line of the log. The first block is the contract's, in its order;
// the second is ours. A caller fills what it knows and hands the event to
// Log.Append, which sets Schema, EventID, Timestamp, Seq, PrevHash and Signature.
// It must not be changed while Append runs.
//
// Text that is not UTF-8 is stored with U+FFFD for each bad byte. Integers beyond
// 53 bits are stored as the nearest one that fits (canon.MaxInt).
type Event struct {
	EventID              string          `json:"event_id"`
	SessionID            string          `json:"session_id"`
	TokenID              string          `json:"token_id"`
	AgentID              string          `json:"agent_id"`
	Action               string          `json:"action"`                 // the action class
	Resource             string          `json:"resource"`               // host and path, secrets already masked
	Decision             verdict.Outcome `json:"decision"`               // stored as the contract's number
	DenyReason           string          `json:"deny_reason"`            // reason in words, colon, detail
	EnforcementLatencyUS int64           `json:"enforcement_latency_us"` // microseconds
	ContextHash          string          `json:"context_hash"`           // hex SHA-256
	BundleVersion        string          `json:"bundle_version"`
	Timestamp            int64           `json:"timestamp"`           // ns since 1970, a multiple of 1000: see Quantise
	DispatchStatus       int             `json:"dispatch_status"`     // HTTP status, 0 before or without a dispatch
	DispatchLatencyUS    int64           `json:"dispatch_latency_us"` // microseconds
	ResponseSize         int64           `json:"response_size"`       // bytes
	SandboxID            string          `json:"sandbox_id"`
	Provenance           string          `json:"provenance"`
	ThreadID             string          `json:"thread_id"`
	ParentActionID       string          `json:"parent_action_id"`
	Signature            string          `json:"signature,omitempty"` // only with Options.SignEvents

	Schema   string         `json:"schema"`
	Seq      uint64         `json:"seq"`       // 0 for the first event of a log
	PrevHash string         `json:"prev_hash"` // hex leaf hash of the event before; 64 zeros for the first
	Kind     string         `json:"kind"`
	Outcome  string         `json:"outcome"` // ALLOW, DENY, ABORT, PASSTHROUGH, …; from Decision when empty
	Reason   verdict.Reason `json:"reason"`

	// Info holds what only some kinds have: nil, or a JSON object of strings,
	// booleans, null, integers of at most 53 bits, arrays and objects.
	// Append refuses an event whose Info is anything else.
	Info json.RawMessage `json:"info,omitempty"`
}

// Quantise returns t as nanoseconds since 1970 cut to whole microseconds, or 0
// for a time before 1970 or after 2115.
//
// RFC 8785 prints numbers as IEEE 754 doubles with the fewest digits that read
// back to the same double. Doubles of today's magnitude are 256 ns apart (512 ns
// from 2043, 1024 ns from 2116), so a full nanosecond count would change under
// canonicalisation. Multiples of 1000 are farther apart than the doubles: their
// digits survive unchanged until 2116.
func Quantise(t time.Time) int64 {
	if y := t.UTC().Year(); y < 1970 || y > 2115 {
		return 0
	}
	return quantised(t.UnixNano())
}

func quantised(ns int64) int64 {
	if ns < 0 || ns >= 1<<62 {
		return 0
	}
	return ns - ns%1000
}

// Info returns the object of the given key, value, key, value … strings.
// A key without a value is ignored.
func Info(pairs ...string) json.RawMessage {
	return canon.AppendStrings(make([]byte, 0, 16*len(pairs)), pairs...)
}

// clamp returns n, or the nearest integer RFC 8785 represents exactly.
func clamp(n int64) int64 { return max(-canon.MaxInt, min(n, canon.MaxInt)) }
