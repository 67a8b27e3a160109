package instruct

import (
	"path/filepath"

	"firma/internal/ca"
	"firma/internal/config"
	"firma/internal/control"
)

// Intercept is what is looked into, without the authority for it.
func Intercept(c *config.Config) control.Intercept {
	m := &c.Sidecar.Interceptor.HTTPSMitm
	x := control.Intercept{
		Enabled: m.Looks(), Hosts: m.InterceptHosts, Bypass: m.BypassHosts, Strict: m.StrictHosts,
		CertTTL: m.CertTTL.Or(0), CacheCapacity: m.CertCacheCapacity,
	}
	if x.Hosts == nil {
		x.Hosts, x.Rules = config.InterceptDefaults, true
	}
	return x
}

// RunCA is the authority behind a run's interception: the configured one, or a
// fresh one that is kept nowhere. nil where nothing is looked into.
func RunCA(c *config.Config) (*ca.CA, error) {
	switch m := &c.Sidecar.Interceptor.HTTPSMitm; {
	case !m.Looks():
		return nil, nil
	case m.CACertPath == "" && c.Sidecar.CA.Dir == "":
		return ca.New(ca.RunLifetime)
	}
	return KeptCA(c, "")
}

// CAFiles are where a kept authority is: configured, or in the state directory.
func CAFiles(c *config.Config, stateDir string) (cert, key string) {
	if m := &c.Sidecar.Interceptor.HTTPSMitm; m.CACertPath != "" {
		return m.CACertPath, m.CAKeyPath
	}
	dir := c.Sidecar.CA.Dir
	if dir == "" {
		dir = filepath.Join(stateDir, "ca")
	}
	return filepath.Join(dir, ca.CertFile), filepath.Join(dir, ca.KeyFile)
}

// KeptCA is the authority of a Sidecar that stands alone: loaded, or made the
// first time where its two files have the usual names.
func KeptCA(c *config.Config, stateDir string) (*ca.CA, error) {
	cert, key := CAFiles(c, stateDir)
	if c.Sidecar.Interceptor.HTTPSMitm.CACertPath != "" {
		return ca.Load(cert, key)
	}
	return ca.LoadOrCreate(filepath.Dir(cert))
}

// UseCA makes s issue from authority, unless it is nil.
func UseCA(s *control.SidecarStart, authority *ca.CA) (err error) {
	if authority != nil {
		s.Intercept.CACert, s.Intercept.CAKey, err = authority.DER()
	}
	return err
}
