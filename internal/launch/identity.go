//go:build linux

package launch

import (
	"path/filepath"

	"firma/internal/ids"
	"firma/internal/instruct"
)

// identities are whose run this is, and the secret its own roles share.
type identities struct{ sandbox, session, agent, psk string }

// identify settles the run's session and agent: those of its pre-staged
// capabilities, since Stage 1 matches both; else those configured; else a session
// of its own.
func identify(o *Options) (identities, error) {
	id := identities{sandbox: ids.New(ids.Sandbox), session: o.SessionID, agent: o.Config.AgentID(), psk: randomKey()}
	seeds, err := instruct.Seeds(o.seedPaths())
	if err != nil {
		return id, err
	}
	if len(seeds) > 0 {
		id.session, id.agent, err = instruct.SessionOf(seeds, o.SessionID)
	}
	if id.session == "" {
		id.session = sessionID()
	}
	return id, err
}

// seedPaths are the pre-staged capabilities of this run: the one on the command
// line in place of those configured.
func (o *Options) seedPaths() []string {
	if o.CapabilityFile != "" {
		return []string{o.CapabilityFile}
	}
	return o.Config.Sidecar.CapabilitySeed.Paths
}

// private are the files that must not be seen inside: who reads a capability holds
// it, and who opens the Sidecar's socket is taken for the operator.
func (o *Options) private() []string {
	var out []string
	if o.Sidecar.Network == "unix" {
		out = append(out, o.Sidecar.Address)
	}
	for _, p := range o.seedPaths() {
		if abs, err := filepath.Abs(p); err == nil {
			out = append(out, abs)
		}
	}
	return out
}
