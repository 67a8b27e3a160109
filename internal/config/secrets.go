package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"firma/internal/secretfile"
)

// authoritySecret is where an Authority and the Sidecars of one account meet when
// neither is configured with a pre-shared key.
func authoritySecret(stateDir string) string {
	return filepath.Join(stateDir, "keys", "authority.psk")
}

// PreSharedKey is what callers of `firma authority` must present: configured, or
// kept in the state directory and made there when missing. It is "" only with
// allow_anonymous.
func (a *Authority) PreSharedKey(stateDir string, getenv func(string) string) (string, error) {
	switch {
	case a.AllowAnonymous:
		return "", nil
	case a.PreSharedKeyPath != "":
		return secretfile.Load(a.PreSharedKeyPath)
	case a.PreSharedKeyEnv != "":
		return secretfile.Check("the environment variable "+a.PreSharedKeyEnv, getenv(a.PreSharedKeyEnv))
	}
	return secretfile.LoadOrCreate(authoritySecret(stateDir))
}

// PreSharedKey is what a Sidecar presents to an Authority that it did not start:
// configured, or that of this account's own Authority. "" when there is neither.
func (r *RemoteAuthority) PreSharedKey(stateDir string, getenv func(string) string) (string, error) {
	switch c := r.Credentials; {
	case c != nil && c.PreSharedKeyPath != "":
		return secretfile.Load(c.PreSharedKeyPath)
	case c != nil:
		return secretfile.Check("the environment variable "+c.PreSharedKeyEnv, getenv(c.PreSharedKeyEnv))
	}
	own := authoritySecret(stateDir)
	if _, err := os.Lstat(own); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return secretfile.Load(own)
}

// AttachSecret is the file whose content a run must know to attach to a Sidecar
// over TCP.
func (c *Config) AttachSecret(stateDir string) string {
	if p := c.Sidecar.Interceptor.SharedSecretPath; p != "" {
		return p
	}
	return filepath.Join(stateDir, "keys", "sidecar.secret")
}
