//go:build linux

package launch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"firma/internal/config"
	"firma/internal/control"
	"firma/internal/fault"
	"firma/internal/profile"
	"firma/internal/registries"
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
	protected := []string{r.opts.StateDir, filepath.Join(home, ".config", "firma")}
	if p := r.opts.Config.Path; p != "" {
		protected = append(protected, p)
	}
	return profile.Host{Dir: dir, Home: home, Env: os.Environ(), Command: r.opts.Command[0], Protected: protected}, nil
}

func (r *run) startAuthority(t *spawn.Thread) error {
	if r.opts.Authority != Local {
		return nil
	}
	c, err := startChild(t, "authority", nil)
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
	return r.authority.ctl.Send(control.Message{Kind: control.KindStart, Authority: start})
}

func (r *run) authorityStart() (*control.AuthorityStart, error) {
	s := &control.AuthorityStart{Profile: r.opts.AuthorityProfile, Posture: "dev", Permits: r.opts.Allow, PreSharedKey: r.ids.psk}
	a := r.opts.Config.Authority
	if a == nil || a.PolicyDir == "" {
		return s, nil
	}
	files, err := filepath.Glob(filepath.Join(a.PolicyDir, "*.cedar"))
	if err != nil || len(files) == 0 {
		return nil, fault.New("ConfigValidation", a.PolicyDir+" holds no .cedar file", "put a policy there, or leave policy_dir out to use the dev posture")
	}
	slices.Sort(files)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, fault.Wrap(err, "ConfigValidation", "a policy can't be read", "check "+f)
		}
		s.Policies = append(append(s.Policies, b...), '\n')
	}
	return s, nil
}

func (r *run) startSidecar(t *spawn.Thread) error {
	c, err := startChild(t, "sidecar", nil)
	r.own(func() { r.sidecar = c })
	return err
}

func (r *run) instructSidecar() error {
	start, err := r.sidecarStart()
	if err != nil {
		return err
	}
	return r.sidecar.ctl.Send(control.Message{Kind: control.KindStart, Sidecar: start})
}

func (r *run) sidecarStart() (*control.SidecarStart, error) {
	c := r.opts.Config
	s := &control.SidecarStart{
		SandboxID: r.ids.sandbox, SessionID: r.ids.session, AgentID: r.ids.agent, Profile: r.view.Name,
		PreSharedKey: r.ids.psk, Allow: r.opts.Allow, DefaultProtected: c.Protected(),
		AllowedCIDRs: c.Sidecar.Egress.AllowedCIDRs, Hosts: c.Sidecar.Egress.Hosts,
		AuditDir: filepath.Join(r.opts.StateDir, "audit"), AuditKey: c.Sidecar.Audit.SigningKeyPath,
		AuditMode: c.Sidecar.Audit.Mode, AuditSign: c.Sidecar.Audit.Sign,
	}
	if s.AuditKey == "" {
		s.AuditKey = filepath.Join(r.opts.StateDir, "keys", "audit.key")
	}
	if err := r.mappings(s, c); err != nil {
		return nil, err
	}
	var err error
	s.Posture, err = json.Marshal(r.posture())
	return s, err
}

// mappings are the configured rules files, or what ships: the profile's own and
// the registries that this host's clients use.
func (r *run) mappings(s *control.SidecarStart, c *config.Config) error {
	if files := c.RulesFiles(); len(files) > 0 {
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				return fault.Wrap(err, "ConfigValidation", "a mapping rules file can't be read", "check [sidecar.mapping] in "+c.Path)
			}
			s.RulesFiles = append(s.RulesFiles, control.RulesFile{Name: f, Data: b})
		}
		return nil
	}
	s.ShippedMappings = r.view.Mappings
	home, _ := os.UserHomeDir()
	found, err := registries.Discover(context.Background(), registries.Options{
		CacheDir: filepath.Join(r.opts.StateDir, "cache"), Home: home, Env: os.Environ(), Log: r.opts.Log,
	})
	if err != nil {
		r.opts.Log.Warn("package registries were not found out; their hosts stay unmapped", "err", err)
	}
	for _, f := range found {
		s.Registries = append(s.Registries, control.Registry{Client: f.Client, Host: f.Host})
	}
	return nil
}

func (r *run) joinAuthority() error {
	if r.authority == nil {
		key, err := os.ReadFile(r.opts.Config.Sidecar.Authority.PublicKeyPath)
		if err != nil {
			return fault.Wrap(err, "AuthorityKeyMissing", "a remote Authority's public key is needed to verify what it signs", "set [sidecar.authority].public_key_path")
		}
		return r.sidecar.ctl.Send(control.Message{Kind: control.KindAuthority, AuthReady: &control.AuthorityReady{URL: r.opts.Authority, PublicKey: key}})
	}
	m, err := r.authority.expect(control.KindReady)
	if err != nil {
		return err
	}
	m.Kind = control.KindAuthority
	return r.sidecar.ctl.Send(m)
}

// posture is what the sandbox enforces, for the first audit event.
func (r *run) posture() sandbox.Posture {
	sum := sha256.Sum256(r.view.Spec.Seccomp)
	p := sandbox.Posture{
		Backend:         "bwrap",
		Namespaces:      []string{"user", "mount", "pid", "ipc", "uts", "cgroup", "network"},
		Network:         "loopback only; 127.0.0.1:18080 and 127.0.0.1:53 are the Sidecar's",
		Capabilities:    "none",
		NoNewPrivileges: true,
		Seccomp:         "sha256:" + hex.EncodeToString(sum[:]),
		Landlock:        "absent: pid 1 inside can be traced",
		DeviceNodes:     "the host's, not owned by the agent",
		Identity:        r.view.Spec.Identity,
		Mounts:          r.view.Spec.Mounts,
		Terminal:        "pipes",
	}
	if abi := landlockABI(); abi >= 2 {
		p.Landlock = fmt.Sprintf("abi %d: processes outside the agent's domain can't be traced", abi)
	}
	if os.Geteuid() == 0 {
		p.DeviceNodes = "made for this run"
	}
	if r.std.terminal() != nil {
		p.Terminal = "private pty"
	}
	return p
}
