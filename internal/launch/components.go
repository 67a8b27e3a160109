//go:build linux

package launch

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"firma/internal/control"
	"firma/internal/fault"
	"firma/internal/instruct"
	"firma/internal/profile"
	"firma/internal/sandbox"
	"firma/internal/spawn"
)

// Local is the value of --authority and --sidecar that asks for a per-run one.
const Local = "local"

func (r *run) host() (profile.Host, error) {
	dir, err := os.Getwd()
	if err != nil {
		return profile.Host{}, fault.Wrap(err, "WorkspaceForbidden", "the working directory is gone", "cd into an existing directory")
	}
	home, _ := os.UserHomeDir()
	h := profile.Host{Dir: dir, Home: home, Env: os.Environ(), Protected: []string{r.opts.StateDir, filepath.Join(home, ".config", "firma")}}
	if len(r.opts.Command) > 0 {
		h.Command = r.opts.Command[0]
	}
	for _, p := range append(r.opts.private(), r.opts.Config.Files()...) {
		h.Hidden = append(h.Hidden, profile.Hidden{Path: p, Written: p == r.opts.Config.Sidecar.Audit.FilePath})
	}
	return h, nil
}

func (r *run) startAuthority(t *spawn.Thread) error {
	if r.opts.Authority != Local || r.opts.Sidecar != (Endpoint{}) {
		return nil // somebody else's Sidecar follows an Authority of its own
	}
	c, err := startChild(t, "authority", &r.opts)
	r.own(func() { r.authority = c })
	return err
}

func (r *run) instructAuthority() error {
	if r.authority == nil {
		return nil
	}
	start, err := r.authorityStart()
	if err != nil {
		return err
	}
	return r.authority.send(control.Message{Kind: control.KindStart, Authority: start})
}

func (r *run) authorityStart() (*control.AuthorityStart, error) {
	s, err := instruct.Authority(r.opts.Config)
	if err != nil {
		return nil, err
	}
	s.Profile, s.Permits, s.PreSharedKey = r.opts.AuthorityProfile, r.opts.Allow, r.ids.psk
	return s, nil
}

func (r *run) startSidecar(t *spawn.Thread) error {
	if r.opts.Sidecar != (Endpoint{}) {
		x, err := r.attachSidecar()
		if err == nil {
			r.own(func() { r.sidecar = x })
		}
		return err
	}
	c, err := startChild(t, "sidecar", &r.opts)
	if c != nil {
		r.own(func() { r.sidecar = c })
	}
	return err
}

// instructSidecar tells the run's own Sidecar what it is to be. One that stands is
// told of the run when the sandbox's sockets are known.
func (r *run) instructSidecar() error {
	if r.opts.Sidecar != (Endpoint{}) {
		return nil
	}
	start, err := r.sidecarStart()
	if err != nil {
		return err
	}
	return r.sidecar.send(control.Message{Kind: control.KindStart, Sidecar: start})
}

func (r *run) sidecarStart() (*control.SidecarStart, error) {
	c, place := r.opts.Config, instruct.Here(r.opts.StateDir, r.opts.Log)
	place.Environ = append(place.Environ, "PATH="+r.path) // the last of a name counts
	s, err := instruct.Sidecar(c, r.ids.sandbox, r.view.Mappings, r.opts.seedPaths(), place)
	if err != nil {
		return nil, err
	}
	s.SessionID, s.AgentID, s.Profile, s.Allow = r.ids.session, r.ids.agent, r.view.Name, r.opts.Allow
	s.PreSharedKey, s.LocalExec = r.ids.psk, r.keeper.served
	if err := instruct.UseCA(s, r.ca); err != nil {
		return nil, err
	}
	s.Actions, s.RefreshRatio, s.RefreshGrace = r.opts.Capability.RequestedActions, r.opts.Capability.RefreshRatio, r.opts.Capability.Grace.Or(0)
	if r.opts.Authority != Local {
		s.NoAllow = true // it decides its own policies
		if err := instruct.Uplink(s, c, place); err != nil {
			return nil, err
		}
	}
	s.Posture, err = json.Marshal(r.posture())
	return s, err
}

func (r *run) joinAuthority() error {
	if r.opts.Sidecar != (Endpoint{}) {
		return nil
	}
	if r.authority == nil {
		key, err := instruct.AuthorityKey(r.opts.Config)
		if err != nil {
			return err
		}
		return r.sidecar.send(control.Message{Kind: control.KindAuthority, AuthReady: &control.AuthorityReady{URL: r.opts.Authority, PublicKey: key}})
	}
	m, err := r.authority.expect(control.KindReady)
	if err != nil {
		return err
	}
	m.Kind = control.KindAuthority
	return r.sidecar.send(m)
}

// posture is what the sandbox enforces, for the first audit event.
func (r *run) posture() sandbox.Posture {
	sum := sha256.Sum256(r.view.Spec.Seccomp)
	p := sandbox.Posture{
		Backend:         "bwrap",
		Namespaces:      []string{"user", "mount", "pid", "ipc", "uts", "cgroup", "network"},
		Network:         "loopback only; 127.0.0.1:18080 and 127.0.0.1:53 are the Sidecar's",
		Transparent:     "off: only clients that use the proxy get out",
		Capabilities:    "none",
		NoNewPrivileges: true,
		Seccomp:         "sha256:" + hex.EncodeToString(sum[:]),
		Landlock:        "absent: pid 1 inside can be traced",
		DeviceNodes:     "the host's, not owned by the agent",
		Identity:        r.view.Spec.Identity,
		Mounts:          r.view.Spec.Mounts,
		Terminal:        "pipes",
	}
	if abi := LandlockABI(); abi >= 2 {
		p.Landlock = fmt.Sprintf("abi %d: processes outside the agent's domain can't be traced", abi)
	}
	if r.opts.Transparent {
		p.Transparent = "every TCP port of names that a rule covers, and of addresses that one names, leads to the Sidecar (nf_tables)"
	}
	if os.Geteuid() == 0 {
		p.DeviceNodes = "made for this run"
	}
	if r.std.terminal() != nil {
		p.Terminal = "private pty"
	}
	return p
}
