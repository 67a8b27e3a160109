package config

import (
	"fmt"
	"path/filepath"
	"strings"

	"firma/internal/localexec/line"
)

// LocalExec is the command gate that a Sidecar serves; the table's presence turns
// it on.
type LocalExec struct {
	// SocketPath is where launchers ask, ManagementSocketPath where people approve.
	// Their directories must be open to this user only.
	SocketPath           string   `toml:"socket_path" default:"one per run, in the state directory"`
	ManagementSocketPath string   `toml:"management_socket_path" default:"socket_path with -approve added to its name"`
	DefaultAction        string   `toml:"default_action" default:"deny" enum:"allow deny pending_hitl"`
	TokenTTL             Duration `toml:"token_ttl" default:"5m" zero:"no"`
	RetryAfter           Duration `toml:"retry_after" default:"500ms" zero:"no"`
}

// LocalExecGate is the command gate that a run asks before it starts the agent.
type LocalExecGate struct {
	Endpoint string   `toml:"endpoint" default:"the run's own Sidecar"` // unix:/PATH or tcp:HOST:PORT
	Scope    string   `toml:"scope" default:"launch" enum:"launch" later:"tree"`
	Timeout  Duration `toml:"timeout" default:"500ms" older:"timeout_ms" zero:"no"`

	HITLMode    string   `toml:"hitl_mode" default:"sync_wait" enum:"sync_wait async_token"`
	HITLMaxWait Duration `toml:"hitl_max_wait" default:"5m" older:"hitl_max_wait_ms" zero:"no"`

	EnforceKnownExecutables *bool    `toml:"enforce_known_executables" default:"false"`
	AllowedExecutables      []string `toml:"allowed_executables"` // absolute paths
}

// Sockets returns both paths; "" for both when each run has its own.
func (l *LocalExec) Sockets() (ask, approve string) {
	if l.SocketPath == "" || l.ManagementSocketPath != "" {
		return l.SocketPath, l.ManagementSocketPath
	}
	ext := filepath.Ext(l.SocketPath)
	return l.SocketPath, strings.TrimSuffix(l.SocketPath, ext) + "-approve" + ext
}

// EndpointOf is the gate that goes with the endpoint of a Sidecar which was
// started elsewhere: NAME-tools.sock beside the socket NAME.sock. ok is false for
// a Sidecar on TCP, whose gate must be named.
func EndpointOf(sidecar string) (gate string, ok bool) {
	a, err := line.ParseAddress(sidecar)
	if err != nil || a.Network != "unix" {
		return "", false
	}
	return "unix:" + strings.TrimSuffix(a.Addr, filepath.Ext(a.Addr)) + "-tools.sock", true
}

// Enforces reports whether only AllowedExecutables may be started.
func (g *LocalExecGate) Enforces() bool {
	return g.EnforceKnownExecutables != nil && *g.EnforceKnownExecutables
}

func (l *LocalExec) check(d *decoder) {
	if l == nil {
		return
	}
	const at = "sidecar.local_exec."
	for key, p := range map[string]string{"socket_path": l.SocketPath, "management_socket_path": l.ManagementSocketPath} {
		if _, err := line.ParseAddress("unix:" + p); p != "" && err != nil {
			d.invalid(at+key, "= %s is not an absolute path of at most %d bytes", printable(p), line.MaxPath)
		}
	}
	switch {
	case l.ManagementSocketPath != "" && l.SocketPath == "":
		d.invalid(at+"management_socket_path", "needs socket_path; leave both out to give each run its own")
	case l.ManagementSocketPath != "" && l.SocketPath == l.ManagementSocketPath:
		d.invalid(at+"management_socket_path", "is socket_path: who may ask must not be able to approve")
	}
}

func (g *LocalExecGate) check(d *decoder, at string) {
	if g == nil {
		return
	}
	if _, err := line.ParseAddress(g.Endpoint); g.Endpoint != "" && err != nil {
		d.invalid(at+".endpoint", "is wrong: %s", printable(err.Error()))
	}
	for i, p := range g.AllowedExecutables {
		if !filepath.IsAbs(p) {
			d.invalid(fmt.Sprintf("%s.allowed_executables[%d]", at, i), "= %s is not an absolute path; any file can have a name", printable(p))
		}
	}
}

// mergeGates lays a higher table over a lower one.
func mergeGates(low, high *LocalExecGate) *LocalExecGate {
	if low == nil || high == nil {
		if low == nil {
			low = high
		}
		return low
	}
	g := *low
	setString(&g.Endpoint, high.Endpoint)
	setString(&g.Scope, high.Scope)
	setString(&g.HITLMode, high.HITLMode)
	if high.Timeout.set {
		g.Timeout = high.Timeout
	}
	if high.HITLMaxWait.set {
		g.HITLMaxWait = high.HITLMaxWait
	}
	if high.EnforceKnownExecutables != nil {
		g.EnforceKnownExecutables = high.EnforceKnownExecutables
	}
	if high.AllowedExecutables != nil {
		g.AllowedExecutables = high.AllowedExecutables
	}
	return &g
}
