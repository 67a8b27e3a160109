//go:build linux

package launch

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/url"
	"time"

	"firma/internal/attach"
	"firma/internal/fault"
)

// Endpoint is where a Sidecar that somebody else started listens. The zero value
// is none: the run starts its own.
type Endpoint = attach.Endpoint

// SidecarChoice is what a Sidecar is chosen by.
type SidecarChoice struct {
	Flag        string // --sidecar
	NoAutostart bool
	Persisted   string // FIRMA_SIDECAR_ENDPOINT, then sidecar_endpoint of the profile
}

// Choose returns the endpoint of the Sidecar to use, zero for one of the run's
// own. It contacts nobody.
func (s *SidecarChoice) Choose() (Endpoint, error) {
	switch {
	case s.Flag == Local && s.NoAutostart:
		return Endpoint{}, fault.New("SidecarLocalNoAutostart", "--sidecar local starts a Sidecar, which --no-autostart forbids", "leave out one of the two")
	case s.Flag == Local:
		return Endpoint{}, nil
	case s.Flag != "":
		return attach.ParseEndpoint(s.Flag)
	case s.Persisted == Local:
		s.Persisted = ""
		return s.Choose()
	case s.Persisted != "":
		return attach.ParseEndpoint(s.Persisted)
	case s.NoAutostart:
		return Endpoint{}, fault.New("MissingSidecar", "no Sidecar is configured, and --no-autostart forbids to start one",
			"name one that runs: --sidecar tcp://HOST:PORT or unix:///PATH, or sidecar_endpoint in the profile; or leave --no-autostart out")
	}
	return Endpoint{}, nil
}

// probeTime bounds how long what somebody else runs may take to accept.
const probeTime = 2 * time.Second

// ProbeAuthority reports whether an Authority at a URL accepts connections; addr is
// dialled in place of the URL's host, if not "". Who it is, the Sidecar finds out.
func ProbeAuthority(ctx context.Context, authority, addr string) error {
	u, err := url.Parse(authority)
	if err != nil {
		return checkURL(authority)
	}
	if addr == "" {
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
		addr = net.JoinHostPort(u.Hostname(), port)
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return fault.Wrap(err, "AuthorityUnreachable", "no Authority answers at "+authority, "start it there, or correct the URL")
	}
	return c.Close()
}

// Probe reports whether a Sidecar accepts connections.
func Probe(ctx context.Context, e Endpoint) error {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, e.Network, e.Address)
	if errors.Is(err, fs.ErrPermission) {
		return fault.Wrap(err, "SidecarAccessDenied", "the Sidecar's socket at "+e.String()+" is closed to this account", "use the account that started it")
	}
	if err != nil {
		return fault.Wrap(err, "SidecarUnreachable", "no Sidecar answers at "+e.String(), "start it there, or correct the endpoint")
	}
	return c.Close()
}
