package config

// The tables of firma.toml, and of the same in YAML. The tags of a field:
//
//	toml   its key
//	older  a key that earlier files use; _secs, _seconds and _ms are the unit of
//	       its plain number
//	path   the value is a path, made absolute; "input": what it names decides what
//	       is allowed, so trust covers it
//	default  what an absent key means, as documented
//	enum   the words it may be; later: words that are not built yet
//	zero   "no" refuses zero
//	why    of an Unbuilt key, what it belongs to
//
// docs/configuration.md documents every key; a test holds it to this file.

// Project is free metadata.
type Project struct {
	Name string `toml:"name"`
}

// Authority is the table whose presence asks for a local Mini Authority, and what
// `firma authority` is configured by. A run's own Authority has a key and a port of
// its own, and asks nobody for listen_addr, key_file and the pre-shared key.
type Authority struct {
	ListenAddr string `toml:"listen_addr" default:"[::1]:50051"`

	PolicyDir         string `toml:"policy_dir" default:"policies/ if it exists, else the dev posture" path:"input"`          // "": the dev posture
	IssuancePolicyDir string `toml:"issuance_policy_dir" default:"issuance-policies/ if it exists, else permit" path:"input"` // "": everything that is asked for
	SchemaPath        string `toml:"schema_path" default:"built in" path:"input"`                                             // "": the built-in schema
	RevocationFile    string `toml:"revocation_file" default:"revocations.txt" path:"yes"`
	KeyFile           string `toml:"key_file" default:"firma-authority.key" path:"yes"`
	UsualKeyFile      string `toml:"-"` // what KeyFile is where none is named; made when it is missing

	MaxTTL    Duration `toml:"max_ttl" default:"1h" older:"max_ttl_seconds" zero:"no"`
	BundleTTL Duration `toml:"bundle_ttl" default:"30s" older:"bundle_ttl_seconds" zero:"no"`

	// Callers must present the pre-shared key. It is read from the file or the
	// environment variable named here; without either, from the state directory.
	PreSharedKeyPath string `toml:"pre_shared_key_path" default:"the state directory" path:"yes"`
	PreSharedKeyEnv  string `toml:"pre_shared_key_env"`
	AllowAnonymous   bool   `toml:"allow_anonymous" default:"false"` // serve callers without a key

	TLSCert   Unbuilt `toml:"tls_cert_path" why:"TLS between Sidecar and Authority"`
	TLSKey    Unbuilt `toml:"tls_key_path" why:"TLS between Sidecar and Authority"`
	ClientCA  Unbuilt `toml:"mtls_client_ca_cert_path" why:"client certificates"`
	ClientKey Unbuilt `toml:"mtls_client_ca_key_path" why:"client certificates"`
	Clients   Unbuilt `toml:"authorized_clients_path" why:"client certificates"`
	LogLevel  Unbuilt `toml:"log_level" why:"use --log-filter or FIRMA_LOG_FILTER"`
}

// Sidecar is the enforcement pipeline's table.
type Sidecar struct {
	Mode        string          `toml:"mode" default:"enforce" enum:"enforce" later:"monitor"`
	Mapping     Mapping         `toml:"mapping"`
	Egress      Egress          `toml:"egress"`
	Audit       Audit           `toml:"audit"`
	Authority   RemoteAuthority `toml:"authority"`
	Connector   Connector       `toml:"connector"`
	Interceptor Interceptor     `toml:"interceptor"`
	Policy      Policy          `toml:"policy"`
	Revocation  Revocation      `toml:"revocation"`
	Tenancy     Tenancy         `toml:"tenancy"`
	Log         Log             `toml:"log"`

	CA                   CA                   `toml:"ca"`
	CapabilitySeed       CapabilitySeed       `toml:"capability_seed"`
	CapabilityValidation CapabilityValidation `toml:"capability_validation"`
	LocalExec            *LocalExec           `toml:"local_exec"` // nil: not served

	Credentials   Unbuilt `toml:"credentials" why:"credential injection"`
	Constraints   Unbuilt `toml:"constraint_enforcement" why:"a run's Sidecar serves one session, whose state it keeps whole"`
	Providers     Unbuilt `toml:"http_secret_providers" why:"secret mediation"`
	SecretGateway Unbuilt `toml:"secret_gateway" why:"secret mediation"`
	Preflight     Unbuilt `toml:"preflight" why:"removed: firma run asks for a capability per session"`
}

// Mapping names the rules files; none means the shipped mappings.
type Mapping struct {
	RulesPath        string   `toml:"rules_path" default:"the shipped rules" path:"input"`
	RulesPaths       []string `toml:"rules_paths" path:"input"`
	DefaultProtected *bool    `toml:"default_protected" default:"true"` // nil: true
}

// Egress widens which addresses may be dialled.
type Egress struct {
	AllowedCIDRs []string          `toml:"allowed_cidrs"`
	Hosts        map[string]string `toml:"hosts"`                     // host → address[:port]
	CACertPath   string            `toml:"ca_cert_path" path:"input"` // PEM, trusted beside the host's roots

	UpstreamProxy *UpstreamProxy `toml:"upstream_proxy"` // nil: none
}

// UpstreamProxy is the network's own proxy that connections leave through.
type UpstreamProxy struct {
	URL          string   `toml:"url"`                      // http://host:port or https://host:port
	NoProxy      []string `toml:"no_proxy"`                 // as in the NO_PROXY variable
	Username     string   `toml:"username"`                 // Basic authentication
	PasswordPath string   `toml:"password_path" path:"yes"` // its owner's alone
}

// Audit says how the log is kept.
type Audit struct {
	Sink           string `toml:"sink" default:"file" enum:"file" later:"stdout grpc wal"`
	FilePath       string `toml:"file_path" default:"the state directory" path:"yes"` // each start adds its identifier to the name: see LogPath
	Mode           string `toml:"mode" default:"written" enum:"written strict"`       // "": written before the decision is carried out; strict: on disk
	Sign           string `toml:"sign" default:"checkpoint" enum:"checkpoint event"`
	SigningKeyPath string `toml:"signing_key_path" default:"the state directory" path:"yes"` // "": the state directory's

	SigningKeyEnv Unbuilt `toml:"signing_key_env" why:"use signing_key_path"`
	GRPCURL       Unbuilt `toml:"grpc_url" why:"the grpc sink"`
	WALPath       Unbuilt `toml:"wal_path" why:"the wal sink"`
	WALMaxSize    Unbuilt `toml:"wal_max_size" why:"the wal sink"`
	WALMaxBytes   Unbuilt `toml:"wal_max_bytes" why:"the wal sink"`
	RedactQuery   Unbuilt `toml:"redact_query_params" why:"the built-in list of sensitive parameters applies"`
}

// RemoteAuthority is the Authority that a Sidecar follows, and who the Sidecar is
// to it.
type RemoteAuthority struct {
	AgentID       string `toml:"agent_id" default:"local-dev"` // "": local-dev
	URL           string `toml:"url"`
	PublicKeyPath string `toml:"public_key_path" path:"input"`     // 32 raw bytes, Ed25519
	ConnectAddr   string `toml:"connect_addr" default:"the URL's"` // dialled in place of the URL's host

	ConnectTimeout           Duration     `toml:"connect_timeout" default:"10s" older:"connect_timeout_secs" zero:"no"`
	ReconnectMinBackoff      Duration     `toml:"reconnect_min_backoff" default:"250ms" older:"reconnect_min_backoff_ms" zero:"no"`
	ReconnectMaxBackoff      Duration     `toml:"reconnect_max_backoff" default:"30s" older:"reconnect_max_backoff_ms" zero:"no"`
	RevocationReadinessGrace Duration     `toml:"revocation_readiness_grace" default:"500ms" older:"revocation_readiness_grace_ms"`
	FailClosedOnDisconnect   bool         `toml:"revocation_fail_closed_on_disconnect" default:"false"`
	AllowInsecureRemote      bool         `toml:"allow_insecure_remote_authority" default:"false"`
	Credentials              *Credentials `toml:"credentials"`

	CACert        Unbuilt `toml:"ca_cert_path" why:"TLS between Sidecar and Authority"`
	TLSClientCert Unbuilt `toml:"tls_client_cert_path" why:"client certificates"`
	TLSClientKey  Unbuilt `toml:"tls_client_key_path" why:"client certificates"`
}

// Credentials say which Sidecar this is. The pre-shared key is in a file or an
// environment variable, one of the two.
type Credentials struct {
	WorkspaceID      string `toml:"workspace_id"`
	SidecarID        string `toml:"sidecar_id"`
	PreSharedKeyPath string `toml:"pre_shared_key_path" path:"yes"`
	PreSharedKeyEnv  string `toml:"pre_shared_key_env"`
}

// Policy is for a Sidecar without an Authority.
type Policy struct {
	Dir string `toml:"dir" default:"the dev posture" path:"input"` // *.cedar; "": the dev posture

	AuthorityURL Unbuilt `toml:"authority_url" why:"write [sidecar.authority].url"`
}

// CapabilitySeed names the pre-staged capabilities.
type CapabilitySeed struct {
	Paths     []string `toml:"paths" path:"yes"`
	HotReload *bool    `toml:"hot_reload" default:"true"` // nil: true
}

// CapabilityValidation is how capabilities are checked.
type CapabilityValidation struct {
	ClockSkewTolerance Duration `toml:"clock_skew_tolerance" default:"0s" older:"clock_skew_tolerance_seconds"`
}

// Connector is about calls that were allowed.
type Connector struct {
	// DefaultTimeout is from the end of the request to the head of the response.
	// Model APIs that don't stream think for minutes.
	DefaultTimeout Duration `toml:"default_timeout" default:"10m" older:"default_timeout_ms" zero:"no"`

	Hosts []ConnectorHost `toml:"hosts"`
}

// ConnectorHost bounds the calls to one host, of all sessions of a Sidecar together.
// All keys are required.
type ConnectorHost struct {
	Host    string   `toml:"host"`                                 // with its port, unless that is 80 or 443
	RPS     float64  `toml:"rps"`                                  // calls per second
	Burst   int      `toml:"burst" zero:"no"`                      // calls at once
	Timeout Duration `toml:"timeout" older:"timeout_ms" zero:"no"` // as default_timeout
}

// Interceptor is about the agent's connections. Where to listen is for a Sidecar
// that was started by hand; a run's own serves the sandbox's sockets.
type Interceptor struct {
	Mode         string   `toml:"mode" default:"http_proxy" enum:"grpc http_proxy unix_socket"` // "": http_proxy
	ListenAddr   string   `toml:"listen_addr" default:"127.0.0.1:8080"`                         // for http_proxy and grpc
	SocketPath   string   `toml:"socket_path" path:"yes"`                                       // for unix_socket; for grpc in place of listen_addr
	DrainTimeout Duration `toml:"drain_timeout" default:"30s" older:"drain_timeout_secs" zero:"no"`

	// SharedSecretPath is the file whose content a run must know to attach over
	// TCP. "": the state directory's.
	SharedSecretPath string `toml:"shared_secret_path" default:"the state directory" path:"yes"`

	MaxConnections int          `toml:"max_connections" default:"4096" zero:"no"`       // of one agent
	MaxTotal       int          `toml:"max_total_connections" default:"8192" zero:"no"` // of all sessions of a Sidecar started by hand
	HeadTimeout    Duration     `toml:"head_timeout" default:"15s" zero:"no"`           // first to last byte of a request head
	IdleTimeout    Duration     `toml:"idle_timeout" default:"5m" zero:"no"`            // between requests
	StreamIdle     Duration     `toml:"stream_idle_timeout" default:"1h" zero:"no"`     // of a response body or tunnel
	MaxBody        Size         `toml:"max_request_body_size" default:"no limit" older:"max_request_body_bytes" zero:"no"`
	BodyBudget     Size         `toml:"total_body_budget" default:"64MiB" zero:"no"` // held in memory for one session
	ConnectRelay   ConnectRelay `toml:"connect_relay"`
	HTTPSMitm      HTTPSMitm    `toml:"https_mitm"`

	MaxDecompressed Unbuilt `toml:"max_decompressed_body_size" why:"bodies are not decompressed"`
}

// HTTPSMitm is about TLS connections that are looked into. Patterns are a host,
// "*", or "*.example.com" for everything below example.com.
type HTTPSMitm struct {
	Enabled        *bool    `toml:"enabled" default:"true"`                 // nil: true
	InterceptHosts []string `toml:"intercept_hosts" default:"see above"`    // nil: InterceptDefaults, and what rules tell apart
	BypassHosts    []string `toml:"bypass_hosts"`                           // win over intercept_hosts
	StrictHosts    []string `toml:"strict_hosts" default:"the intercepted"` // nil: all that are intercepted

	CACertPath        string   `toml:"ca_cert_path" default:"in [sidecar.ca].dir" path:"yes"`
	CAKeyPath         string   `toml:"ca_key_path" default:"in [sidecar.ca].dir" path:"yes"`
	CertTTL           Duration `toml:"cert_ttl" default:"24h" older:"cert_ttl_secs" zero:"no"`
	CertCacheCapacity int      `toml:"cert_cache_capacity" default:"1024" zero:"no"` // 0: 1024
}

// CA is where the certificate authority behind interception is kept.
type CA struct {
	Dir string `toml:"dir" default:"the state directory; a run's own is kept nowhere" path:"yes"`
}

// ConnectRelay is about CONNECT tunnels.
type ConnectRelay struct {
	SetupTimeout Duration `toml:"setup_timeout" default:"10s" older:"setup_timeout_secs" zero:"no"` // resolve and connect, of any call
	SessionMax   Duration `toml:"session_max" default:"none" older:"session_max_secs" zero:"no"`    // unset: none
}

// Revocation bounds the list of revoked capabilities.
type Revocation struct {
	Capacity int `toml:"capacity" default:"1000000" zero:"no"` // 0: 1,000,000

	FPR Unbuilt `toml:"fpr" why:"the list is exact"`
	LRU Unbuilt `toml:"lru_capacity" why:"the list is exact"`
}

// Tenancy has one mode.
type Tenancy struct {
	Mode string `toml:"mode" default:"single_agent" enum:"single_agent"`
}

// Log is the Sidecar's verbosity; --log-filter and FIRMA_LOG_FILTER win.
type Log struct {
	Level string `toml:"level" default:"warn" enum:"trace debug info warn error"`
}

// Run is the launcher's table.
type Run struct {
	Profile  string           `toml:"profile" default:"generic" older:"default_profile"`
	Defaults Patch            `toml:"defaults"`
	Profiles map[string]Patch `toml:"profiles"`

	AllowNonStructural Unbuilt `toml:"allow_non_structural" why:"every backend built so far confines the network by structure"`
}

// Patch changes a profile. What it leaves out stays as it was; nil is left out.
type Patch struct {
	Inherits        string            `toml:"inherits" default:"generic"` // a profile; "": generic
	Backend         string            `toml:"backend" default:"bwrap"`
	SidecarEndpoint string            `toml:"sidecar_endpoint"`
	CATrustMode     string            `toml:"ca_trust_mode" default:"append_system_roots" enum:"append_system_roots sole"`
	IdentityMode    string            `toml:"identity_mode" default:"sandbox_user" enum:"sandbox_user host_user sandbox-user host-user"`
	EnvSet          map[string]string `toml:"env_set"`
	EnvPassthrough  []string          `toml:"env_passthrough"`
	EnvAllowSecret  []string          `toml:"env_allow_secret"`
	Mounts          []Mount           `toml:"mounts"` // replaces the profile's project directory
	Network         Network           `toml:"network"`
	Transparent     *bool             `toml:"transparent" default:"true"` // nil: true
	UseSidecar      *bool             `toml:"use_http_proxy_sidecar" default:"true"`
	Capability      Capability        `toml:"capability"`
	Seccomp         Seccomp           `toml:"seccomp_policy"`
	ExecGate        ExecGate          `toml:"sidecar_local_exec" older:"command_mediator"`
	LocalExecGate   *LocalExecGate    `toml:"sidecar_local_exec" older:"command_mediator"`

	Executables    Unbuilt `toml:"executable_policies" why:"flags injected into agents"`
	CodexCLI       Unbuilt `toml:"codex_cli" why:"flags injected into agents"`
	NonStructural  Unbuilt `toml:"allow_non_structural" why:"every backend built so far confines the network by structure"`
	MaskHome       Unbuilt `toml:"mask_home_paths" why:"nothing of the home is shown"`
	Secrets        Unbuilt `toml:"secret_providers" why:"secret mediation"`
	AllowedDomains Unbuilt `toml:"allowed_domains" why:"write mapping rules, or use --allow"`
}

// Seccomp chooses the managed system-call filter.
type Seccomp struct {
	SourcePath  string `toml:"source_policy_path" path:"input" default:"built in"`
	ArtifactDir string `toml:"artifact_dir" path:"yes" default:"the state directory"`
	RuntimeMode string `toml:"runtime_mode" enum:"compile_on_launch precompiled_only" default:"compile_on_launch"`

	VerifyChecksum Unbuilt `toml:"verify_checksum" why:"checksums are always verified"`
}

// ExecGate is asked before the agent's command is executed.
type ExecGate struct {
	Endpoint     string   `toml:"endpoint"` // unix:///path or tcp://host:port; "": no gate
	Timeout      Duration `toml:"timeout" older:"timeout_ms" zero:"no" default:"500ms"`
	HITLMode     string   `toml:"hitl_mode" enum:"sync_wait async_token" default:"sync_wait"`
	HITLMaxWait  Duration `toml:"hitl_max_wait" older:"hitl_max_wait_ms" zero:"no" default:"5m"`
	EnforceKnown *bool    `toml:"enforce_known_executables" default:"false"`
	Allowed      []string `toml:"allowed_executables"` // canonical paths
}

// Mount shows a file or directory of the host.
type Mount struct {
	Source   string `toml:"source"`
	Target   string `toml:"target" default:"the source"`
	ReadOnly bool   `toml:"read_only" default:"false"`
}

// Network can only be what it is; a file may say so.
type Network struct {
	EnforceNamespace *bool `toml:"enforce_network_namespace" default:"true"`
	FailClosed       *bool `toml:"fail_closed" default:"true"`
}

// Capability is what a run asks its Authority for.
type Capability struct {
	RequestedActions []string         `toml:"requested_actions" default:"every class"` // nil: every class
	RefreshRatio     float64          `toml:"refresh_ratio" default:"0.6"`
	Grace            Duration         `toml:"grace" default:"30s" older:"grace_seconds" zero:"no"`
	Source           CapabilitySource `toml:"source"`

	Kind           Unbuilt `toml:"kind" why:"write it as source = { kind, path }"`
	Path           Unbuilt `toml:"path" why:"write it as source = { kind, path }"`
	PublicKeyPath  Unbuilt `toml:"public_key_path" why:"set [sidecar.authority].public_key_path"`
	RefreshEnabled Unbuilt `toml:"refresh_enabled" why:"capabilities are always refreshed"`
}

// CapabilitySource is where a run's capability comes from.
type CapabilitySource struct {
	Kind string `toml:"kind" enum:"disabled file" default:"disabled"` // disabled: the Authority is asked
	Path string `toml:"path" path:"yes"`                              // for file: a seed
}

// Unbuilt is a key that the documentation of the format knows and this version
// does not act on: setting it is an error, never ignored.
type Unbuilt struct{}
