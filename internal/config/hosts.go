package config

import (
	"fmt"

	"firma/internal/intent"
)

// Key is the host as calls name it; an error says what is wrong with it.
func (h *ConnectorHost) Key() (string, error) {
	host, port, err := intent.SplitHostPort(h.Host)
	if err != nil {
		return "", err
	}
	return intent.HostKey(host, port), nil
}

// checkHosts judges [[sidecar.connector.hosts]].
func (s *Sidecar) checkHosts(d *decoder) {
	seen := map[string]bool{}
	for i := range s.Connector.Hosts {
		h := &s.Connector.Hosts[i]
		at := fmt.Sprintf("sidecar.connector.hosts[%d]", i)
		key, err := h.Key()
		switch {
		case h.Host == "":
			d.invalid(at, "needs host: a host, with its port unless that is 80 or 443")
		case err != nil:
			d.invalid(at, "has a host that is none: %v", err)
		case seen[key]:
			d.invalid(at, "is for %s, which has limits already", key)
		}
		seen[key] = true
		if h.RPS <= 0 {
			d.invalid(at, "needs rps, calls per second, more than 0")
		}
		if h.Burst <= 0 {
			d.invalid(at, "needs burst, calls at once, 1 or more")
		}
		if h.Timeout.Or(0) <= 0 {
			d.invalid(at, "needs timeout, such as \"30s\"")
		}
	}
}
