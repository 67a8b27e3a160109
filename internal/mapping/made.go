package mapping

import (
	"fmt"

	"firma/internal/action"
	"firma/internal/fault"
	"firma/internal/verdict"
)

// The sources of the rules that firma itself makes.
const (
	shippedPrefix  = "shipped:"
	registryPrefix = "registry:"
	allowSource    = "--allow"
)

// Registry returns the rules for a package registry that the host's own client
// is configured for: whatever it carries installs packages. host is "name" or
// "name:port"; anything else gives no rules.
func Registry(name, host string) []Rule {
	h, err := parseHost(host)
	if err != nil || h.kind != exactHost {
		return nil
	}
	return bothWays(h, action.SystemInstall, registryPrefix+name, false)
}

// Allow returns the rules for the operator's --allow HOST[:PORT]: the host's
// tunnels and all its requests. Without a port they cover 80 and 443, and with
// one of these two they cover both as well. A wildcard, a URL and anything else
// that is not one destination are refused with a fault.
func Allow(hostport string) ([]Rule, error) {
	h, err := parseHost(hostport)
	if err != nil {
		return nil, refuseAllow(hostport, err.Error())
	}
	if h.kind != exactHost {
		return nil, refuseAllow(hostport, "it names more than one destination")
	}
	return bothWays(h, action.CommunicationExternalSend, allowSource, true), nil
}

func refuseAllow(hostport, why string) error {
	return fault.New(invalidAllow, fmt.Sprintf("--allow %q names no destination: %s", hostport, why),
		"write HOST or HOST:PORT, as in --allow example.com; for wildcards write a mapping rule")
}

func bothWays(h hostPattern, class action.Class, source string, grant bool) []Rule {
	r := Rule{Host: h.String(), ActionClass: class, Source: source, Grant: grant}
	tunnel := r
	tunnel.Method = "CONNECT"
	if grant && h.key != h.name { // the operator named a port: what is spoken there is theirs
		tunnel.TunnelAccepts = verdict.AcceptsWords()
	}
	return []Rule{tunnel, r}
}
