//go:build linux

package launch

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"golang.org/x/term"

	"firma/internal/config"
	"firma/internal/fault"
	"firma/internal/instruct"
	"firma/internal/profile"
	"firma/internal/sandbox"
	"firma/internal/sandbox/bwrap"
	"firma/internal/trust"
)

// Effective is what --print-effective-config prints: what a run would be. Nothing
// is started to find it out.
type Effective struct {
	Profile    string            `json:"profile"`
	Base       string            `json:"base_profile"` // the built-in one under it
	Config     source            `json:"config"`
	Command    []string          `json:"command"`
	AgentID    string            `json:"agent_id"`
	WorkingDir string            `json:"working_dir"`
	Backend    string            `json:"backend"`
	Program    string            `json:"backend_program"`
	Env        map[string]string `json:"env"`
	Mounts     []mount           `json:"mounts"`
	Private    []string          `json:"private_dirs"` // empty, writable, gone with the run
	Files      []string          `json:"files"`        // made for the run, read-only
	Symlinks   []sandbox.Symlink `json:"symlinks"`
	Identity   sandbox.Identity  `json:"identity"`
	Network    network           `json:"network"`
	Seccomp    filter            `json:"seccomp"`
	Sidecar    sidecar           `json:"sidecar"`
	Authority  authority         `json:"authority"`
	LocalExec  *commandGate      `json:"local_exec"` // nil: no command gate is asked
	Enforced   []enforced        `json:"enforced"`
	Notes      []string          `json:"notes"`
	Problems   []problem         `json:"problems"` // a launch would fail with the first of them
}

type source struct {
	Path   string `json:"path"`   // "" without a file
	Source string `json:"source"` // how it was found
}

type mount struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"read_only"`
}

type network struct {
	EnforceNamespace bool   `json:"enforce_network_namespace"`
	FailClosed       bool   `json:"fail_closed"`
	Interfaces       string `json:"interfaces"`
	Proxy            string `json:"proxy"`
	DNS              string `json:"dns"`
	Transparent      bool   `json:"transparent"`
}

type filter struct {
	Policy   string `json:"policy"` // id and version
	Artifact string `json:"artifact"`
	SHA256   string `json:"sha256"`
	Bytes    int    `json:"bytes"`
}

type sidecar struct {
	Selection        string   `json:"selection"` // "local" or "external"
	Endpoint         string   `json:"endpoint,omitempty"`
	DefaultProtected bool     `json:"default_protected"`
	Rules            []string `json:"mapping"`
	Allow            []string `json:"allow"` // --allow
	AllowedCIDRs     []string `json:"allowed_cidrs"`
	AuditLog         string   `json:"audit_log"`
	AuditMode        string   `json:"audit_mode"`
	Capability       string   `json:"capability"`

	Interception  interception `json:"interception"`
	UpstreamProxy string       `json:"upstream_proxy,omitempty"`
}

// interception is which TLS connections are looked into.
type interception struct {
	Enabled bool     `json:"enabled"`
	Hosts   []string `json:"hosts"`
	Rules   bool     `json:"hosts_that_rules_tell_apart"` // on top
	Bypass  []string `json:"bypass_hosts"`
	CATrust string   `json:"ca_trust_mode"`
}

type authority struct {
	Selection string `json:"selection"` // "local", "remote", "ask" or "none"
	URL       string `json:"url,omitempty"`
	Profile   string `json:"profile,omitempty"`
	Policies  string `json:"policies,omitempty"`
}

type enforced struct {
	What string `json:"what"`
	By   string `json:"by"`
}

type problem struct {
	Name string `json:"name"`
	Text string `json:"text"`
	Fix  string `json:"fix"`
}

// PrintEffective writes what the run would be as JSON and returns firma run's exit
// status. A configuration that can't be used is an error; what only this host or
// moment lacks is listed under problems.
func PrintEffective(w io.Writer, o Options, a AuthorityChoice) (int, error) {
	r := &run{opts: o}
	host, err := r.host()
	if err != nil {
		return ExitFailure, err
	}
	r.path = profile.HostPath(host)
	if r.view, err = o.Profile.Resolve(host); err != nil {
		return ExitFailure, err
	}
	e := &Effective{Problems: []problem{}}
	e.ofHost(r)
	e.ofTrust(r)
	e.ofView(r)
	e.ofRoles(r, a)
	e.ofGate(r)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return ExitFailure, err
	}
	return 0, nil
}

func (e *Effective) problem(err error) {
	p := problem{Name: fault.NameOf(err), Text: err.Error()}
	if f, ok := err.(*fault.Error); ok {
		p.Text, p.Fix = f.Text, f.Fix
		if f.Err != nil {
			p.Text += ": " + f.Err.Error()
		}
	}
	e.Problems = append(e.Problems, p)
}

func (e *Effective) ofHost(r *run) {
	var err error
	e.Backend = r.opts.Backend
	if e.Program, err = bwrap.FindOn(r.path); err != nil {
		e.problem(err)
	}
	if err := CheckState(r.opts.StateDir); err != nil {
		e.problem(err)
	}
	e.ofFilter(r)
}

// ofTrust shows what interception adds to the view. The certificate of this print
// is no run's.
func (e *Effective) ofTrust(r *run) {
	if err := r.trustCA(); err != nil {
		e.problem(err)
	}
}

func (e *Effective) ofFilter(r *run) {
	plan, err := r.opts.SeccompPlan()
	if err != nil {
		e.problem(err)
		return
	}
	r.view.Spec.Seccomp = plan.Filter()
	e.Seccomp = filter{Policy: plan.Policy.ID + " " + plan.Policy.Version, Artifact: plan.Dir}
	if _, _, err := plan.Check(); err != nil {
		e.problem(err)
	}
}

func (e *Effective) ofView(r *run) {
	v, p := r.view, r.posture()
	e.Profile, e.Base = v.Name, r.opts.Profile.Base
	e.Config = source{r.opts.Config.Path, r.opts.Config.Source}
	e.Command = append([]string{}, r.opts.Command...)
	e.WorkingDir, e.Identity = v.Dir, v.Spec.Identity
	e.Env = map[string]string{
		"FIRMA_RUN_SANDBOX_ID": "(made for each run)", "FIRMA_RUN_SESSION_ID": firstOf(r.opts.SessionID, "(made for each run)"),
	}
	for _, kv := range v.Env {
		name, value, _ := strings.Cut(kv, "=")
		if profile.LooksSecret(name) {
			value = "(not shown)"
		}
		e.Env[name] = value
	}
	for _, m := range v.Spec.Mounts {
		e.Mounts = append(e.Mounts, mount{m.Source, m.Target, !m.Writable})
	}
	for _, d := range v.Spec.Private {
		e.Private = append(e.Private, d.Path)
	}
	for _, f := range v.Spec.Files {
		e.Files = append(e.Files, f.Path)
	}
	e.Symlinks = v.Spec.Symlinks
	e.Notes = append([]string{}, v.Notes...)
	e.Seccomp.SHA256, e.Seccomp.Bytes = strings.TrimPrefix(p.Seccomp, "sha256:"), len(v.Spec.Seccomp)
	e.Network = network{true, true, "loopback only", profile.ProxyAddress, fmt.Sprintf("127.0.0.1:%d", dnsPort), r.opts.Transparent}
	e.Enforced = enforcement(&p)
}

// enforcement says in words what the posture holds.
func enforcement(p *sandbox.Posture) []enforced {
	return []enforced{
		{"no network but the Sidecar", "network namespace with " + p.Network},
		{"clients that ignore the proxy", p.Transparent},
		{"no other processes", "pid namespace"},
		{"no host files but the mounts", "mount namespace with a root built from the list"},
		{"namespaces", p.Backend + ": " + strings.Join(p.Namespaces, ", ")},
		{"capabilities: " + p.Capabilities, "bwrap --cap-drop ALL, no_new_privs"},
		{"system calls that would undo it are refused", "seccomp filter " + p.Seccomp},
		{"no hold on pid 1", "Landlock, " + p.Landlock},
		{"identity " + p.Identity.Mode, fmt.Sprintf("user namespace: uid %d, gid %d", p.Identity.UID, p.Identity.GID)},
		{"device nodes", p.DeviceNodes},
		{"every call is decided and recorded", "the Sidecar: mapping, capability, policy, signed audit log"},
	}
}

func (e *Effective) ofRoles(r *run, a AuthorityChoice) {
	c := r.opts.Config
	e.AgentID = c.AgentID()
	e.Sidecar = sidecar{
		Selection: Local, DefaultProtected: c.Protected(), Rules: c.RulesFiles(), Allow: append([]string{}, r.opts.Allow...),
		AllowedCIDRs: append([]string{}, c.Sidecar.Egress.AllowedCIDRs...), AuditLog: c.LogPath(r.opts.StateDir, "SANDBOX_ID"),
		AuditMode: firstOf(c.Sidecar.Audit.Mode, "written"), Capability: "asked for at the Authority",
	}
	look := instruct.Intercept(c)
	e.Sidecar.Interception = interception{look.Enabled, append([]string{}, look.Hosts...), look.Rules, append([]string{}, look.Bypass...),
		firstOf(r.opts.CATrustMode, trust.AppendSystemRoots)}
	if p := c.Sidecar.Egress.UpstreamProxy; p != nil {
		e.Sidecar.UpstreamProxy = p.URL
	}
	if len(e.Sidecar.Rules) == 0 {
		e.Sidecar.Rules = shippedRules(r.view.Mappings)
	}
	if seeds := r.opts.seedPaths(); len(seeds) > 0 {
		e.Sidecar.Capability = strings.Join(seeds, ", ")
	}
	if r.opts.Sidecar != (Endpoint{}) {
		e.Sidecar.Selection, e.Sidecar.Endpoint = "external", r.opts.Sidecar.String()
	}
	e.ofAuthority(r, a, c)
}

func shippedRules(names []string) []string {
	var out []string
	for _, n := range names {
		out = append(out, "shipped:"+n)
	}
	return append(out, "package registries of this host's clients")
}

func (e *Effective) ofAuthority(r *run, a AuthorityChoice, c *config.Config) {
	chosen, err := a.Configured()
	switch {
	case err != nil:
		e.Authority.Selection = "none"
		e.problem(err)
	case chosen == Local:
		e.Authority = authority{Selection: Local, Profile: r.opts.AuthorityProfile, Policies: "shipped:dev"}
		if c.Authority != nil && c.Authority.PolicyDir != "" {
			e.Authority.Policies = c.Authority.PolicyDir
		}
	case chosen != "":
		e.Authority = authority{Selection: "remote", URL: chosen}
	case r.opts.Sidecar != (Endpoint{}):
		e.Authority.Selection = "the external Sidecar's"
	default:
		e.Authority.Selection = "ask"
		if !onTerminal() {
			e.problem(a.noTerminal())
		}
	}
}

func onTerminal() bool { return term.IsTerminal(0) }

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
