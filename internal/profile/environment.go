package profile

import (
	"slices"
	"strings"
)

// ProxyAddress is where the Sidecar listens inside every sandbox.
const ProxyAddress = "127.0.0.1:18080"

// passed are the host's variables an agent gets: how to draw on the terminal and
// which language to speak, nothing else.
var passed = []string{"TERM", "COLORTERM", "NO_COLOR", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "TZ"}

// environment is built from nothing.
func environment(v *View, p *Profile, h Host, path []string) ([]string, error) {
	id := v.Spec.Identity
	env := map[string]string{
		"PATH":    strings.Join(path, ":"),
		"HOME":    id.Home,
		"USER":    id.Name,
		"LOGNAME": id.Name,
		"SHELL":   "/bin/sh",
		"PWD":     v.Dir,
		"LANG":    "C.UTF-8",

		"FIRMA_RUN_PROFILE": v.Name,
	}
	for _, k := range passed {
		if val := lookupEnv(h.Env, k); val != "" {
			env[k] = val
		}
	}
	proxy := "http://" + ProxyAddress
	for _, k := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
		env[k], env[strings.ToLower(k)] = proxy, proxy
	}
	env["NO_PROXY"] = "localhost,127.0.0.1,::1"
	env["no_proxy"] = env["NO_PROXY"]
	env["NODE_USE_ENV_PROXY"] = "1" // Node 24 and later: fetch honours the variables
	if err := p.variables(env, h); err != nil {
		return nil, err
	}
	out := make([]string, 0, len(env))
	for k, val := range env {
		out = append(out, k+"="+val)
	}
	slices.Sort(out)
	return out, nil
}
