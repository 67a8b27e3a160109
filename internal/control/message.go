// Package control is the channel between `firma run` and the processes it
// starts: one SOCK_SEQPACKET socket pair each, inherited, carrying JSON messages
// and descriptors. The end of the channel is the end of the other side: a child
// that reads io.EOF knows that its launcher is gone, however it went.
//
//	launcher            authority        sidecar            stub (inside)
//	  │── start ───────────►│               │                   │
//	  │── start ───────────────────────────►│                   │
//	  │◄── authority-ready ─│               │                   │
//	  │── authority-ready ─────────────────►│                   │
//	  │◄───────────── sockets (unbound, by SCM_RIGHTS) ─────────│
//	  │── sockets (bound, listening) ──────►│                   │
//	  │◄─────────────────────────── ready ──│                   │
//	  │── launch ──────────────────────────►│                   │
//	  │◄──────────────────────── recorded ──│                   │
//	  │── exec ────────────────────────────────────────────────►│ becomes the agent
//	  │── end ─────────────────────────────►│                   │
//	  │◄───────────────────────── summary ──│                   │
//
// Any of them may answer failed instead.
package control

import (
	"encoding/json"
	"time"
)

// Kind names a message.
type Kind string

// The kinds, in the order of a run.
const (
	KindStart     Kind = "start"
	KindAuthority Kind = "authority-ready"
	KindReady     Kind = "ready"
	KindFailed    Kind = "failed"
	KindSockets   Kind = "sockets"
	KindLaunch    Kind = "launch"
	KindRecorded  Kind = "recorded"
	KindExec      Kind = "exec"
	KindEnd       Kind = "end"
	KindSummary   Kind = "summary"
)

// Message is one datagram: a kind and the one body that belongs to it.
type Message struct {
	Kind      Kind            `json:"kind"`
	Authority *AuthorityStart `json:"authority,omitempty"`
	AuthReady *AuthorityReady `json:"authority_ready,omitempty"`
	Sidecar   *SidecarStart   `json:"sidecar,omitempty"`
	Failure   *Failure        `json:"failure,omitempty"`
	Launch    *Launch         `json:"launch,omitempty"`
	Exec      *Exec           `json:"exec,omitempty"`
	End       *End            `json:"end,omitempty"`
	Summary   *Summary        `json:"summary,omitempty"`
}

// AuthorityStart tells the Mini Authority what to be for this run.
type AuthorityStart struct {
	Profile      string   `json:"profile"`        // --authority-profile; only "developer"
	Posture      string   `json:"posture"`        // shipped posture to stream, when Policies is empty
	Policies     []byte   `json:"policies"`       // Cedar text instead of a posture
	Permits      []string `json:"permits"`        // host keys of --allow
	PreSharedKey string   `json:"pre_shared_key"` // required of every caller
}

// AuthorityReady is the Authority's startup report.
type AuthorityReady struct {
	URL           string `json:"url"`
	PublicKey     []byte `json:"public_key"` // 32 raw bytes, Ed25519
	BundleVersion string `json:"bundle_version"`
}

// RulesFile is a mapping-rules file as the launcher read it, once.
type RulesFile struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
}

// Registry is a package registry that this host's own client is configured for.
type Registry struct {
	Client string `json:"client"`
	Host   string `json:"host"`
}

// SidecarStart is what a per-run Sidecar is to be. The Authority's address and
// the sandbox's sockets (TCP proxy, UDP DNS, TCP DNS) follow in messages of their
// own, so that all of it starts at once.
type SidecarStart struct {
	SandboxID string `json:"sandbox_id"`
	SessionID string `json:"session_id"`
	AgentID   string `json:"agent_id"`
	Profile   string `json:"profile"`

	PreSharedKey string `json:"pre_shared_key"` // for the Authority

	ShippedMappings  []string    `json:"shipped_mappings"`
	RulesFiles       []RulesFile `json:"rules_files"`
	Registries       []Registry  `json:"registries"`
	Allow            []string    `json:"allow"` // --allow HOST[:PORT]
	DefaultProtected bool        `json:"default_protected"`

	AllowedCIDRs []string          `json:"allowed_cidrs"`
	Hosts        map[string]string `json:"hosts"` // host → address[:port]

	AuditDir  string `json:"audit_dir"`
	AuditKey  string `json:"audit_key"`
	AuditMode string `json:"audit_mode"` // "" or "strict"
	AuditSign string `json:"audit_sign"` // "checkpoint" or "event"

	// Posture is what the sandbox enforces, as facts; recorded in run.start.
	Posture json.RawMessage `json:"posture"`
}

// Failure is a fault that crossed a process boundary.
type Failure struct {
	Name  string `json:"name"`
	Text  string `json:"text"`
	Fix   string `json:"fix"`
	Cause string `json:"cause"`
}

// Launch asks the Sidecar to record the launch before it happens. Arguments are
// not recorded: they may hold secrets.
type Launch struct {
	Executable string `json:"executable"`
	Args       int    `json:"args"` // how many
	Dir        string `json:"dir"`
}

// Exec tells the stub to become the agent.
type Exec struct {
	Argv     []string `json:"argv"`
	Env      []string `json:"env"`
	Dir      string   `json:"dir"`
	Terminal bool     `json:"terminal"` // take the controlling terminal's foreground
	// RequireLandlock refuses to launch where the kernel has no Landlock.
	RequireLandlock bool `json:"require_landlock"`
}

// End tells the Sidecar that the run is over.
type End struct {
	ExitCode int    `json:"exit_code"`
	Cause    string `json:"cause"` // "exit", "signal: …", or the name of a fault
}

// Count is one line of the exit summary.
type Count struct {
	Destination string `json:"destination"`
	Outcome     string `json:"outcome"`
	Reason      string `json:"reason,omitempty"`
	Detail      string `json:"detail,omitempty"`
	Fix         string `json:"fix,omitempty"` // the one command that would allow it
	Count       int64  `json:"count"`
}

// Summary is what the Sidecar decided during the run, and where it is recorded.
type Summary struct {
	Counts     []Count   `json:"counts"`
	More       int64     `json:"more"` // decisions whose destination did not fit in Counts
	Log        string    `json:"log"`
	Events     uint64    `json:"events"`
	Checkpoint string    `json:"checkpoint"` // "size N root HASH", the last signed one
	Time       time.Time `json:"time"`
}
