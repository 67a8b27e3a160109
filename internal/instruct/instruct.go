// Package instruct turns a configuration into what the roles are told to be. It
// reads each file that the configuration names once.
package instruct

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"

	"firma/internal/config"
	"firma/internal/control"
	"firma/internal/fault"
	"firma/internal/registries"
	"firma/internal/secretfile"
)

// Shipped are the mappings that apply where no rules are configured.
func Shipped() []string { return []string{"anthropic", "openai", "github"} }

// Place is where the roles work.
type Place struct {
	StateDir string // absolute
	Home     string
	Environ  []string
	Getenv   func(string) string
	Log      *slog.Logger
}

// Here is the caller's own place.
func Here(stateDir string, log *slog.Logger) Place {
	home, _ := os.UserHomeDir()
	return Place{StateDir: stateDir, Home: home, Environ: os.Environ(), Getenv: os.Getenv, Log: log}
}

// Sidecar is what the Sidecar called id enforces, without whose calls it decides.
// shipped are the mappings where no rules are configured, seeds the pre-staged
// capabilities.
func Sidecar(c *config.Config, id string, shipped, seeds []string, p Place) (*control.SidecarStart, error) {
	a := &c.Sidecar.Audit
	s := &control.SidecarStart{
		SandboxID: id, DefaultProtected: c.Protected(),
		AllowedCIDRs: c.Sidecar.Egress.AllowedCIDRs, Hosts: c.Sidecar.Egress.Hosts,
		Skew:     c.Sidecar.CapabilityValidation.ClockSkewTolerance.Or(0),
		Limits:   limits(&c.Sidecar),
		AuditLog: c.LogPath(p.StateDir, id), AuditDir: filepath.Join(p.StateDir, "audit"),
		AuditKey: a.SigningKeyPath, AuditMode: a.Mode, AuditSign: a.Sign,
		Uplink: control.Uplink{ // whichever Authority it is
			ClosedOnDisconnect: c.Sidecar.Authority.FailClosedOnDisconnect, MaxRevocations: c.Sidecar.Revocation.Capacity,
		},
	}
	if s.AuditKey == "" {
		s.AuditKey = filepath.Join(p.StateDir, "keys", "audit.key")
	}
	if err := mappings(s, c, shipped, p); err != nil {
		return nil, err
	}
	s.Intercept = Intercept(c)
	if p := c.Sidecar.Egress.UpstreamProxy; p != nil {
		s.UpstreamProxy = &control.UpstreamProxy{URL: p.URL, NoProxy: p.NoProxy, Username: p.Username}
		if p.PasswordPath != "" {
			var err error
			if s.UpstreamProxy.Password, err = secretfile.Read(p.PasswordPath); err != nil {
				return nil, err
			}
		}
	}
	if f := c.Sidecar.Egress.CACertPath; f != "" {
		var err error
		if s.UpstreamRoots, err = c.ReadFile(f); err != nil {
			return nil, fault.Wrap(err, "ConfigValidation", "the upstreams' root certificates can't be read", "check ca_cert_path in [sidecar.egress]")
		}
	}
	return s, stage(s, c, seeds)
}

// limits are what the configuration bounds; what it leaves out stays zero.
func limits(s *config.Sidecar) control.Limits {
	i := &s.Interceptor
	var hosts []control.HostLimit
	for n := range s.Connector.Hosts {
		h := &s.Connector.Hosts[n]
		key, _ := h.Key() // the configuration was checked
		hosts = append(hosts, control.HostLimit{Host: key, RPS: h.RPS, Burst: h.Burst, Timeout: h.Timeout.Or(0)})
	}
	return control.Limits{
		MaxConnections: i.MaxConnections, MaxTotal: i.MaxTotal, HeadTimeout: i.HeadTimeout.Or(0), IdleTimeout: i.IdleTimeout.Or(0), StreamIdle: i.StreamIdle.Or(0),
		ConnectTimeout: i.ConnectRelay.SetupTimeout.Or(0), SessionMax: i.ConnectRelay.SessionMax.Or(0),
		Response: s.Connector.DefaultTimeout.Or(0),
		Memory:   i.BodyBudget.Or(0),
		MaxBody:  i.MaxBody.Or(0),
		Hosts:    hosts,
	}
}

// mappings are the configured rules files, or what ships and the registries that
// this host's clients use.
func mappings(s *control.SidecarStart, c *config.Config, shipped []string, p Place) error {
	if files := c.RulesFiles(); len(files) > 0 {
		for _, f := range files {
			b, err := c.ReadFile(f)
			if err != nil {
				return fault.Wrap(err, "ConfigValidation", "a mapping rules file can't be read", "check [sidecar.mapping] in "+c.Path)
			}
			s.RulesFiles = append(s.RulesFiles, control.RulesFile{Name: f, Data: b})
		}
		return nil
	}
	s.ShippedMappings = shipped
	found, err := registries.Discover(context.Background(), registries.Options{
		CacheDir: filepath.Join(p.StateDir, "cache"), Home: p.Home, Env: p.Environ, Log: p.Log,
	})
	if err != nil {
		p.Log.Warn("package registries were not found out; their hosts stay unmapped", "err", err)
	}
	for _, f := range found {
		s.Registries = append(s.Registries, control.Registry{Client: f.Client, Host: f.Host})
	}
	return nil
}

// stage makes paths the pre-staged capabilities of s. None leaves it without.
func stage(s *control.SidecarStart, c *config.Config, paths []string) error {
	if s.Seeds = paths; len(paths) == 0 {
		return nil
	}
	s.SeedReload = c.Sidecar.CapabilitySeed.Reload()
	var err error
	s.SeedKey, err = IssuerKey(c)
	return err
}

// IssuerKey is the public key that pre-staged capabilities verify with, nil when
// none is known: the Sidecar then says what to configure.
func IssuerKey(c *config.Config) ([]byte, error) {
	path := c.IssuerKeyPath()
	if path == "" {
		return nil, nil
	}
	key, err := c.ReadFile(path)
	if err != nil {
		return nil, fault.Wrap(err, "CapabilityKeyMissing", "the public key of the capabilities' issuer can't be read",
			"set public_key_path in [sidecar.authority] to the .pub file beside the issuer's key")
	}
	return key, nil
}

// Uplink fills in how s reaches an Authority that somebody else started.
func Uplink(s *control.SidecarStart, c *config.Config, p Place) error {
	a := &c.Sidecar.Authority
	s.Uplink = control.Uplink{
		Witness:     true,
		ConnectAddr: a.ConnectAddr, AllowInsecureRemote: a.AllowInsecureRemote,
		ConnectTimeout: a.ConnectTimeout.Or(0), MinBackoff: a.ReconnectMinBackoff.Or(0), MaxBackoff: a.ReconnectMaxBackoff.Or(0),
		RevocationGrace: a.RevocationReadinessGrace.Or(0), ClosedOnDisconnect: a.FailClosedOnDisconnect,
		MaxRevocations: c.Sidecar.Revocation.Capacity,
	}
	if cr := a.Credentials; cr != nil {
		s.Uplink.WorkspaceID, s.Uplink.SidecarID = cr.WorkspaceID, cr.SidecarID
	}
	var err error
	s.PreSharedKey, err = a.PreSharedKey(p.StateDir, p.Getenv)
	return err
}

// AuthorityKey is the public key of the Authority that c names by URL: configured,
// or beside the signing key of the same configuration.
func AuthorityKey(c *config.Config) ([]byte, error) {
	key, err := IssuerKey(c)
	if err == nil && key != nil {
		return key, nil
	}
	return nil, fault.Wrap(err, "AuthorityKeyMissing", "an Authority's public key is needed to verify what it signs",
		"set public_key_path in [sidecar.authority] to the .pub file beside the Authority's key")
}

// Authority is what the Mini Authority of a run is told to be. c may lack the
// [authority] table.
func Authority(c *config.Config) (*control.AuthorityStart, error) {
	s := &control.AuthorityStart{Posture: "dev"}
	a := c.Authority
	if a == nil {
		return s, nil
	}
	s.RevocationFile = a.RevocationFile
	s.MaxTTL, s.BundleTTL = a.MaxTTL.Or(0), a.BundleTTL.Or(0)
	var err error
	for _, f := range []struct {
		key, dir string
		from     *string
		to       *[]byte
	}{{"policy_dir", a.PolicyDir, &s.PolicyDir, &s.Policies}, {"issuance_policy_dir", a.IssuancePolicyDir, &s.IssuanceDir, &s.IssuancePolicies}} {
		if f.dir == "" {
			continue
		}
		*f.from = f.dir
		if *f.to, err = c.ReadPolicies(f.dir); err != nil {
			return nil, fault.Wrap(err, "ConfigValidation", "the policies of "+f.key+" can't be read", "put a .cedar file into "+f.dir+", or leave "+f.key+" out of [authority]")
		}
	}
	if a.SchemaPath != "" {
		if s.Schema, err = c.ReadFile(a.SchemaPath); err != nil {
			return nil, fault.Wrap(err, "ConfigValidation", "the schema can't be read", "check schema_path in [authority]")
		}
	}
	return s, nil
}
