package config

import (
	"path/filepath"
	"time"
)

// The defaults of [sidecar] (config.md 5).
const (
	DefaultSidecarListen = "127.0.0.1:8080"
	DefaultDrainTimeout  = 30 * time.Second
)

// The modes of the interceptor.
const (
	ModeHTTPProxy  = "http_proxy"
	ModeUnixSocket = "unix_socket"
	ModeGRPC       = "grpc"
)

// Reload reports whether rewritten seeds are taken while running.
func (s *CapabilitySeed) Reload() bool { return s.HotReload == nil || *s.HotReload }

// AgentID is whose calls a Sidecar decides when nobody says otherwise.
func (c *Config) AgentID() string {
	if id := c.Sidecar.Authority.AgentID; id != "" {
		return id
	}
	return "local-dev"
}

// IssuerKeyPath is the public key that pre-staged capabilities verify with:
// configured, else the one beside the signing key of this configuration. "" when
// neither is known.
func (c *Config) IssuerKeyPath() string {
	if p := c.Sidecar.Authority.PublicKeyPath; p != "" || c.Authority == nil {
		return p
	}
	return PublicKeyBeside(c.Authority.KeyFile)
}

// PublicKeyBeside is the public half of the signing key at path: x.key has x.pub,
// any other name has .pub added.
func PublicKeyBeside(path string) string {
	if filepath.Ext(path) == ".key" {
		path = path[:len(path)-len(".key")]
	}
	return path + ".pub"
}

// LogPath is the audit log of the run or Sidecar called id: in the state
// directory, or beside sidecar.audit.file_path with id added to its name. A log
// is never continued, so every start has one of its own.
func (c *Config) LogPath(stateDir, id string) string {
	p := c.Sidecar.Audit.FilePath
	if p == "" {
		return filepath.Join(stateDir, "audit", id+".jsonl")
	}
	ext := filepath.Ext(p)
	return p[:len(p)-len(ext)] + "-" + id + ext
}
