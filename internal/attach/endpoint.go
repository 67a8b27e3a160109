package attach

import (
	"net"
	"net/netip"
	"path/filepath"
	"strings"

	"firma/internal/fault"
)

// Endpoint is where a Sidecar listens.
type Endpoint struct {
	Network string // "tcp" or "unix"
	Address string // "host:port", or an absolute path
}

// ParseEndpoint reads tcp:HOST:PORT, tcp://HOST:PORT, unix:/PATH and unix:///PATH.
// A host that is not this machine is refused: the agent's calls would cross the
// network unprotected.
func ParseEndpoint(s string) (Endpoint, error) {
	network, address, _ := strings.Cut(s, ":")
	switch network {
	case "tcp":
		address = strings.TrimPrefix(address, "//")
		host, port, err := net.SplitHostPort(address)
		if err != nil || port == "" {
			return Endpoint{}, invalidEndpoint(s)
		}
		if host != "localhost" && !loopback(host) {
			return Endpoint{}, fault.New("ConfigValidation", "the Sidecar "+s+" is on another machine, and the agent's calls would reach it unencrypted",
				"use one on 127.0.0.1 or [::1]; bring a remote one there with an encrypted tunnel (ssh -L)")
		}
		return Endpoint{network, address}, nil
	case "unix":
		address = strings.TrimPrefix(address, "//") // unix:///path; unix://path has no meaning
		if !filepath.IsAbs(address) {
			return Endpoint{}, invalidEndpoint(s)
		}
		return Endpoint{network, filepath.Clean(address)}, nil
	}
	return Endpoint{}, invalidEndpoint(s)
}

func invalidEndpoint(s string) error {
	return fault.New(fault.ArgumentInvalid, s+" is not where a Sidecar can be", "use --sidecar local, tcp://HOST:PORT or unix:///ABSOLUTE/PATH")
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// String returns the endpoint as a URL.
func (e Endpoint) String() string { return e.Network + "://" + e.Address }
