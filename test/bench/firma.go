//go:build linux

package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"firma/internal/ids"
)

// config is a standalone Sidecar with everything on: mapping, capability, policy
// and a signed log of every call.
const config = `[authority]
key_file = "authority.key"

[sidecar.authority]
agent_id = "bench"

[sidecar.capability_seed]
paths = ["seed.toml"]

[sidecar.mapping]
rules_path = "rules.toml"

[sidecar.interceptor]
listen_addr = %q
max_connections = 20000
max_total_connections = 20000

[sidecar.interceptor.https_mitm]
intercept_hosts = ["inside.test"]

[sidecar.egress]
ca_cert_path = "origin.pem"

[sidecar.egress.hosts]
"bench.test" = %q
"inside.test" = %q
`

const rules = `version = 2

[[rules]]
method = "GET"
host = "bench.test"
action_class = "code.read"

[[rules]]
method = "CONNECT"
host = "bench.test"
action_class = "communication.external.send"

[[rules]]
method = "GET"
host = "inside.test"
action_class = "code.read"
`

// beside is another firma to compare with in the same run.
func beside(firma string) maker {
	return maker{against, func(e *env, addr string) ([]string, error) {
		argv, err := e.firmaArgs(addr)
		if err == nil {
			argv[0] = firma
		}
		return argv, err
	}}
}

const against = "against"

// firmaArgs prepares a configuration, a key and a capability as docs/authority.md
// says.
func (e *env) firmaArgs(addr string) ([]string, error) {
	conf, err := e.write("firma-"+strings.ReplaceAll(addr, ":", "-")+".toml", fmt.Sprintf(config, addr, e.origin, e.tls))
	if err != nil {
		return nil, err
	}
	if _, err := e.write("rules.toml", rules); err != nil {
		return nil, err
	}
	health, err := freeAddr()
	if err != nil {
		return nil, err
	}
	if seed := filepath.Join(e.dir, "seed.toml"); !exists(seed) {
		for _, args := range [][]string{
			{"generate-key"},
			{"issue", "--agent-id", "bench", "--session-id", ids.New(ids.Sidecar), "--action", "code.read", "--action", "communication.external.send", "-o", seed},
		} {
			cmd := exec.Command(e.firma, append([]string{"authority", "--state-dir", filepath.Join(e.dir, "state"), "-c", conf}, args...)...)
			if out, err := cmd.CombinedOutput(); err != nil {
				return nil, fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
			}
		}
	}
	return []string{e.firma, "sidecar", "-c", conf, "--health-bind-addr", health, "--log-filter", "warn"}, nil
}
