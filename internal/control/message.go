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
	"net/netip"
	"time"
)

// Kind names a message.
type Kind string

// The kinds, in the order of a run.
const (
	KindTrust     Kind = "trust" // of a Sidecar to a run that attaches
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
	Trust     *Trust          `json:"trust,omitempty"`
	Attach    *Attach         `json:"attach,omitempty"`
	Failure   *Failure        `json:"failure,omitempty"`
	Launch    *Launch         `json:"launch,omitempty"`
	Exec      *Exec           `json:"exec,omitempty"`
	End       *End            `json:"end,omitempty"`
	Summary   *Summary        `json:"summary,omitempty"`

	// Sockets names the files that accompany a KindSockets message, in their order.
	Sockets []Socket `json:"sockets,omitempty"`
	// Capture, in the Sidecar's KindReady, are the addresses whose connections it
	// wants to be led to it. None: nothing is captured.
	Capture []netip.Prefix `json:"capture,omitempty"`
}

// AuthorityStart tells the Mini Authority what to be for this run.
type AuthorityStart struct {
	Profile      string   `json:"profile"`        // --authority-profile; only "developer"
	Posture      string   `json:"posture"`        // shipped posture to stream, when Policies is empty
	PolicyDir    string   `json:"policy_dir"`     // where Policies come from, for errors
	Policies     []byte   `json:"policies"`       // Cedar text instead of a posture
	Permits      []string `json:"permits"`        // host keys of --allow
	PreSharedKey string   `json:"pre_shared_key"` // required of every caller

	// What [authority] says besides; zero values mean the defaults.
	IssuanceDir      string        `json:"issuance_dir"`      // where they come from, for errors
	IssuancePolicies []byte        `json:"issuance_policies"` // nil: everything that is asked for
	Schema           []byte        `json:"schema"`            // nil: the built-in one
	RevocationFile   string        `json:"revocation_file"`   // watched; "": nothing is ever revoked
	MaxTTL           time.Duration `json:"max_ttl"`           // ns
	BundleTTL        time.Duration `json:"bundle_ttl"`        // ns
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
	NoAllow          bool        `json:"no_allow"` // --allow is refused here, and not advised

	Intercept Intercept `json:"intercept"`

	UpstreamProxy *UpstreamProxy    `json:"upstream_proxy,omitempty"`
	UpstreamRoots []byte            `json:"upstream_roots"` // PEM, trusted beside the host's roots
	AllowedCIDRs  []string          `json:"allowed_cidrs"`
	Hosts         map[string]string `json:"hosts"` // host → address[:port]

	// Seeds are the files of pre-staged capabilities. When there are any, they are
	// the capabilities; no other is asked for.
	Seeds      []string      `json:"seeds"`
	SeedKey    []byte        `json:"seed_key"`    // of their issuer; 32 raw bytes
	SeedReload bool          `json:"seed_reload"` // take rewritten ones
	Skew       time.Duration `json:"skew"`        // clock_skew_tolerance; ns

	// The capability asked for: nil Actions are every class, zero the defaults.
	Actions      []string      `json:"actions"`
	RefreshRatio float64       `json:"refresh_ratio"`
	RefreshGrace time.Duration `json:"refresh_grace"`

	Uplink Uplink `json:"uplink"`
	Limits Limits `json:"limits"`

	AuditLog  string `json:"audit_log"` // must not exist
	AuditDir  string `json:"audit_dir"` // of the state directory; keeps the newest checkpoints
	AuditKey  string `json:"audit_key"`
	AuditMode string `json:"audit_mode"` // "" or "strict"
	AuditSign string `json:"audit_sign"` // "checkpoint" or "event"

	LocalExec *LocalExec `json:"local_exec,omitempty"` // nil: no command gate is served

	// Posture is what the sandbox enforces, as facts; recorded in run.start.
	Posture json.RawMessage `json:"posture"`
}

// UpstreamProxy is the network's own proxy that connections leave through.
type UpstreamProxy struct {
	URL      string   `json:"url"`
	NoProxy  []string `json:"no_proxy"`
	Username string   `json:"username"`
	Password string   `json:"password"`
}

// Intercept says which TLS connections are looked into, and with which authority.
type Intercept struct {
	Enabled bool     `json:"enabled"`
	Hosts   []string `json:"hosts"`
	// Rules adds the hosts that mapping rules tell apart by method or path.
	Rules  bool     `json:"rules"`
	Bypass []string `json:"bypass"`
	Strict []string `json:"strict"` // nil: all that are looked into

	CACert []byte `json:"ca_cert"` // DER
	CAKey  []byte `json:"ca_key"`  // DER (SEC 1)

	CertTTL       time.Duration `json:"cert_ttl"`       // ns; 0: the default
	CacheCapacity int           `json:"cache_capacity"` // 0: the default
}

// Limits bound the agent's connections and calls. Zero is the proxy's default.
type Limits struct {
	MaxConnections int           `json:"max_connections"`
	MaxTotal       int           `json:"max_total_connections"` // of all sessions
	HeadTimeout    time.Duration `json:"head_timeout"`
	IdleTimeout    time.Duration `json:"idle_timeout"`
	StreamIdle     time.Duration `json:"stream_idle"`
	ConnectTimeout time.Duration `json:"connect_timeout"`
	SessionMax     time.Duration `json:"session_max"`
	Response       time.Duration `json:"response"`
	Memory         int64         `json:"memory"`   // bytes held for one session
	MaxBody        int64         `json:"max_body"` // bytes of one request's; 0: any number
	Hosts          []HostLimit   `json:"hosts,omitempty"`
}

// HostLimit bounds the calls to one host, of all sessions together.
type HostLimit struct {
	Host    string        `json:"host"` // with its port, unless that is 80 or 443
	RPS     float64       `json:"rps"`
	Burst   int           `json:"burst"`
	Timeout time.Duration `json:"timeout"` // from the end of a request to the head of its response
}

// Uplink is how a Sidecar reaches an Authority that was not started for it. The
// zero value is right for one that was.
type Uplink struct {
	Witness             bool          `json:"witness"` // it outlives the Sidecar, and is sent its log's checkpoints
	ConnectAddr         string        `json:"connect_addr"`
	WorkspaceID         string        `json:"workspace_id"`
	SidecarID           string        `json:"sidecar_id"`
	AllowInsecureRemote bool          `json:"allow_insecure_remote"`
	ConnectTimeout      time.Duration `json:"connect_timeout"`
	MinBackoff          time.Duration `json:"min_backoff"`
	MaxBackoff          time.Duration `json:"max_backoff"`
	RevocationGrace     time.Duration `json:"revocation_grace"`
	ClosedOnDisconnect  bool          `json:"closed_on_disconnect"`
	MaxRevocations      int           `json:"max_revocations"`
}

// Endpoint is where a Sidecar that stands alone serves.
type Endpoint struct {
	Network string `json:"network"` // "tcp" or "unix"
	Address string `json:"address"` // "ip:port", or an absolute path
}

// Attach is the start message of a run to a Sidecar that it did not start. What
// that Sidecar enforces is its own matter.
type Attach struct {
	SandboxID string          `json:"sandbox_id"`
	SessionID string          `json:"session_id"`
	AgentID   string          `json:"agent_id"`
	Profile   string          `json:"profile"`
	Posture   json.RawMessage `json:"posture"`
	Seeds     []RulesFile     `json:"seeds"` // the run's own capabilities; none: the Sidecar's

	// Transparent says that the run relays connections that were meant for somebody
	// else, and Transparent6 that it does so over IPv6, too.
	Transparent  bool `json:"transparent"`
	Transparent6 bool `json:"transparent6"`
}

// Trust is the first message of a Sidecar to a run that attaches: the sandbox must
// be built before the Sidecar is told of it.
type Trust struct {
	CACert []byte `json:"ca_cert"` // DER, behind its interception; nil: it looks into nothing
}

// LocalExec is the command gate that the Sidecar serves for its run.
type LocalExec struct {
	Socket        string        `json:"socket"`     // where the launcher asks
	Management    string        `json:"management"` // where people approve
	DefaultAction string        `json:"default_action"`
	TokenTTL      time.Duration `json:"token_ttl"`   // 0: the default
	RetryAfter    time.Duration `json:"retry_after"` // 0: the default
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

	// Refused says why the launch does not happen; "": it does.
	Refused string `json:"refused,omitempty"`
}

// Program is the one file that may be executed, as the launcher saw it.
type Program struct {
	Path      string `json:"path"` // inside; relative to Exec.Dir
	Dev       uint64 `json:"dev"`
	Ino       uint64 `json:"ino"`
	Size      int64  `json:"size"`
	ChangedS  int64  `json:"changed_s"` // time of the last change: content, mode or name
	ChangedNs int64  `json:"changed_ns"`
}

// Exec tells the stub to become the agent.
type Exec struct {
	Argv     []string `json:"argv"`
	Program  *Program `json:"program,omitempty"` // nil: what Argv[0] leads to
	Env      []string `json:"env"`
	Dir      string   `json:"dir"`
	Terminal bool     `json:"terminal"` // take the controlling terminal's foreground
	// RequireLandlock refuses to launch where the kernel has no Landlock.
	RequireLandlock bool `json:"require_landlock"`
	// Pins are what the mounts must show; anything else is no launch.
	Pins []Pin `json:"pins"`
}

// Pin is a path inside the sandbox and the file that must be there.
type Pin struct {
	Path string `json:"path"`
	Dev  uint64 `json:"dev"`
	Ino  uint64 `json:"ino"`
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
