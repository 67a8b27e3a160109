package config

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"firma/internal/action"
	"firma/internal/intent"
)

// invalid reports a value that can't be meant, at the place of its key.
func (d *decoder) invalid(key, format string, args ...any) {
	d.add(d.places[key], "%s %s", key, fmt.Sprintf(format, args...))
}

// check judges what a type alone can't: every mistake is reported.
func (c *Config) check(d *decoder) {
	if a := c.Authority; a != nil {
		a.settle(d.dir)
		a.check(d)
	}
	c.Sidecar.checkInterceptor(d)
	c.Sidecar.checkMitm(d)
	c.Sidecar.checkAuthority(d)
	c.Sidecar.checkEgress(d)
	c.Sidecar.checkHosts(d)
	c.Sidecar.LocalExec.check(d)
	if c.Sidecar.Audit.Sink == "file" && c.Sidecar.Audit.FilePath == "" {
		d.invalid("sidecar.audit.sink", `= "file" needs file_path`)
	}
	c.Run.check(d, "run.")
	if c.overrides != nil {
		c.overrides.check(d, "")
	}
}

func (a *Authority) check(d *decoder) {
	switch {
	case a.PreSharedKeyPath != "" && a.PreSharedKeyEnv != "":
		d.invalid("authority.pre_shared_key_path", "is set together with pre_shared_key_env: keep one")
	case a.AllowAnonymous && (a.PreSharedKeyPath != "" || a.PreSharedKeyEnv != ""):
		d.invalid("authority.allow_anonymous", "is set together with a pre-shared key: keep one")
	}
	if _, _, err := net.SplitHostPort(a.ListenAddr); a.ListenAddr != "" && err != nil {
		d.invalid("authority.listen_addr", "= %s is not an address and a port such as %s", printable(a.ListenAddr), DefaultAuthorityListen)
	}
}

func (s *Sidecar) checkInterceptor(d *decoder) {
	i := &s.Interceptor
	if i.Mode == ModeUnixSocket && i.SocketPath == "" {
		d.invalid("sidecar.interceptor.mode", "= unix_socket needs socket_path")
	}
	if i.Mode == ModeGRPC && i.SocketPath != "" && i.ListenAddr != "" {
		d.invalid("sidecar.interceptor.socket_path", "is set together with listen_addr: in mode grpc, keep one")
	}
	if _, err := netip.ParseAddrPort(i.ListenAddr); i.ListenAddr != "" && err != nil {
		d.invalid("sidecar.interceptor.listen_addr", "= %s is not an address and a port such as %s", printable(i.ListenAddr), DefaultSidecarListen)
	}
}

func (s *Sidecar) checkMitm(d *decoder) {
	const at = "sidecar.interceptor.https_mitm"
	m := &s.Interceptor.HTTPSMitm
	if (m.CACertPath == "") != (m.CAKeyPath == "") {
		d.invalid(at+".ca_cert_path", "and ca_key_path are set together or not at all")
	}
	if m.CACertPath != "" && s.CA.Dir != "" {
		d.invalid(at+".ca_cert_path", "is set together with [sidecar.ca].dir: keep one")
	}
	if m.InterceptHosts != nil && len(m.InterceptHosts) == 0 && m.Looks() {
		d.invalid(at+".intercept_hosts", "is empty; to look into nothing, set enabled = false")
	}
	for key, list := range map[string][]string{"intercept_hosts": m.InterceptHosts, "bypass_hosts": m.BypassHosts, "strict_hosts": m.StrictHosts} {
		for i, p := range list {
			if !hostPattern(p) {
				d.invalid(fmt.Sprintf("%s.%s[%d]", at, key, i), `= %s is no host, no "*" and no "*.example.com" with two labels or more behind the star`, printable(p))
			}
		}
	}
}

// hostPattern is what interception understands: wildcards stand for whole labels,
// in front of at least two.
func hostPattern(p string) bool {
	if p == "*" {
		return true
	}
	rest, below := strings.CutPrefix(p, "*.")
	host, addr, err := intent.CanonicalHost(rest)
	return err == nil && (!below || !addr.IsValid() && strings.Contains(host, "."))
}

func (s *Sidecar) checkAuthority(d *decoder) {
	a := &s.Authority
	if _, _, err := net.SplitHostPort(a.ConnectAddr); a.ConnectAddr != "" && err != nil {
		d.invalid("sidecar.authority.connect_addr", "= %s is not an address and a port", printable(a.ConnectAddr))
	}
	if strings.ContainsFunc(a.AgentID, func(r rune) bool { return r <= ' ' || r > '~' }) || len(a.AgentID) > 200 {
		d.invalid("sidecar.authority.agent_id", "must be at most 200 printable characters without spaces")
	}
	if a.ReconnectMinBackoff.Or(0) > a.ReconnectMaxBackoff.Or(1<<62) {
		d.invalid("sidecar.authority.reconnect_min_backoff", "is longer than reconnect_max_backoff")
	}
	const credentials = "sidecar.authority.credentials"
	switch cr := a.Credentials; {
	case cr == nil:
	case cr.WorkspaceID == "" || cr.SidecarID == "":
		d.invalid(credentials, "needs workspace_id and sidecar_id")
	case (cr.PreSharedKeyPath == "") == (cr.PreSharedKeyEnv == ""):
		d.invalid(credentials, "needs one of pre_shared_key_path and pre_shared_key_env")
	}
}

func (s *Sidecar) checkEgress(d *decoder) {
	for i, p := range s.Egress.AllowedCIDRs {
		if _, err := netip.ParsePrefix(p); err != nil {
			d.invalid(fmt.Sprintf("sidecar.egress.allowed_cidrs[%d]", i), "= %s is not a CIDR such as 10.0.0.0/8 or ::1/128", printable(p))
		}
	}
	if p := s.Egress.UpstreamProxy; p != nil {
		p.check(d, "sidecar.egress.upstream_proxy")
	}
	spelt := map[string]string{}
	for _, host := range slices.Sorted(maps.Keys(s.Egress.Hosts)) {
		addr := s.Egress.Hosts[host]
		name, _, err := intent.CanonicalHost(host)
		switch other, twice := spelt[name]; {
		case err != nil:
			d.invalid(dotted("sidecar.egress.hosts", host), "is for one host, without wildcard and port, and %s is none", printable(host))
		case twice:
			d.invalid(dotted("sidecar.egress.hosts", host), "is the same host as %s", printable(other))
		}
		spelt[name] = host
		_, aerr := netip.ParseAddr(addr)
		_, perr := netip.ParseAddrPort(addr)
		if aerr != nil && perr != nil {
			d.invalid(dotted("sidecar.egress.hosts", host), "= %s is not an address, or address:port", printable(addr))
		}
	}
}

func (p *UpstreamProxy) check(d *decoder, at string) {
	u, err := url.Parse(p.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		d.invalid(at+".url", "= %s is not http://host:port or https://host:port", printable(p.URL))
	case u.User != nil:
		d.invalid(at+".url", "must not hold credentials: write username and password_path")
	}
	if (p.Username == "") != (p.PasswordPath == "") {
		d.invalid(at+".username", "and password_path are set together or not at all")
	}
	if strings.ContainsAny(p.Username, ":\r\n") {
		d.invalid(at+".username", "can't hold a colon or a line feed")
	}
}

func (r *Run) check(d *decoder, prefix string) {
	r.Defaults.check(d, prefix+"defaults")
	if r.Defaults.Inherits != "" {
		d.invalid(prefix+"defaults.inherits", "is for a profile: the defaults lie under every one")
	}
	for name, p := range r.Profiles {
		at := prefix + "profiles." + name
		p.check(d, at)
		if !profileName(name) {
			d.add(d.places[at], "%s is not a name for a profile: use letters, digits, - and _", printable(name))
		}
		if p.Inherits != "" && slices.Contains(builtIn, name) {
			d.invalid(at+".inherits", "can't be set: %s is built in", name)
		}
	}
}

func (p *Patch) check(d *decoder, at string) {
	for key, b := range map[string]*bool{"network.enforce_network_namespace": p.Network.EnforceNamespace, "network.fail_closed": p.Network.FailClosed, "use_http_proxy_sidecar": p.UseSidecar} {
		if b != nil && !*b {
			d.invalid(dotted(at, key), "= false is not built in this version: the only way out of a sandbox is the Sidecar, and every failure refuses")
		}
	}
	if b := p.Backend; b != "" && !slices.Contains(backends, b) {
		d.invalid(at+".backend", "is %s, not %s", quoted(backends), printable(b))
	}
	p.LocalExecGate.check(d, at+".sidecar_local_exec")
	if g := &p.ExecGate; g.EnforceKnown != nil && *g.EnforceKnown && len(g.Allowed) == 0 {
		d.invalid(at+".sidecar_local_exec.enforce_known_executables", "needs allowed_executables")
	}
	for i, a := range p.Capability.RequestedActions {
		if !action.Known(action.Class(a)) {
			d.invalid(fmt.Sprintf("%s.capability.requested_actions[%d]", at, i), "= %s is no action class; docs/mapping-rules.md lists them", printable(a))
		}
	}
	if c := p.Capability.Source; (c.Kind == "file") != (c.Path != "") {
		d.invalid(at+".capability.source", `needs kind = "file" and a path, or neither`)
	}
	if a := p.Capability.RequestedActions; a != nil && len(a) == 0 {
		d.invalid(at+".capability.requested_actions", "is empty; leave it out to ask for every class")
	}
	if r := p.Capability.RefreshRatio; r < 0 || r >= 1 {
		d.invalid(at+".capability.refresh_ratio", "must lie between 0 and 1")
	}
}

// backends are the names a configuration may use; the launcher says which of them
// this host has.
var backends = []string{"bwrap", "vz", "wsl2", "firecracker"}

// builtIn are the profiles that exist without a configuration.
var builtIn = []string{"generic", "codex"}

func profileName(s string) bool {
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '-' && c != '_') {
			return false
		}
	}
	return s != "" && len(s) <= 64
}
