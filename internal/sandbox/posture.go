package sandbox

// Posture is what a sandbox enforces, as facts about this run rather than
// wishes. It is printed by --print-effective-config and recorded in the run's
// first audit event.
type Posture struct {
	Backend         string   `json:"backend"`
	BackendVersion  string   `json:"backend_version,omitempty"`
	Namespaces      []string `json:"namespaces"`
	Network         string   `json:"network"`
	Transparent     string   `json:"transparent"` // what is captured of clients that ignore the proxy
	Capabilities    string   `json:"capabilities"`
	NoNewPrivileges bool     `json:"no_new_privileges"`
	Seccomp         string   `json:"seccomp"`  // "sha256:…" of the loaded filter
	Landlock        string   `json:"landlock"` // "abi N: …" or why it is absent
	DeviceNodes     string   `json:"device_nodes"`
	Identity        Identity `json:"identity"`
	Mounts          []Mount  `json:"mounts"`
	Terminal        string   `json:"terminal"` // "private pty" or "pipes"
}
