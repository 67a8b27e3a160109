package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firma/internal/fault"
)

func TestLocalExecTables(t *testing.T) {
	c := parse(t, "/etc/x/firma.toml", `
[sidecar.local_exec]
socket_path = "/run/user/1000/firma/tools.sock"
default_action = "pending_hitl"
token_ttl = "90s"

[run.defaults.sidecar_local_exec]
timeout = "1s"
hitl_mode = "async_token"
allowed_executables = ["/usr/bin/git"]
enforce_known_executables = true

[run.profiles.mine.sidecar_local_exec]
endpoint = "tcp:127.0.0.1:7000"
timeout_ms = 250

[run.profiles.loose.command_mediator]
enforce_known_executables = false
hitl_max_wait_ms = 1500
`)
	l := c.Sidecar.LocalExec
	if l.DefaultAction != "pending_hitl" || l.TokenTTL.Or(0) != 90*time.Second || l.RetryAfter.Or(7) != 7 {
		t.Errorf("%+v", l)
	}
	if ask, approve := l.Sockets(); ask != "/run/user/1000/firma/tools.sock" || approve != "/run/user/1000/firma/tools-approve.sock" {
		t.Errorf("%s, %s", ask, approve)
	}
	_, mine, err := c.Profile("mine")
	if err != nil {
		t.Fatal(err)
	}
	if g := mine.LocalExecGate; g.Endpoint != "tcp:127.0.0.1:7000" || g.Timeout.Or(0) != 250*time.Millisecond || g.HITLMode != "async_token" ||
		!g.Enforces() || !cmp.Equal(g.AllowedExecutables, []string{"/usr/bin/git"}) {
		t.Errorf("mine: %+v", g)
	}
	_, loose, _ := c.Profile("loose")
	if g := loose.LocalExecGate; g.Enforces() || g.HITLMaxWait.Or(0) != 1500*time.Millisecond || g.Timeout.Or(0) != time.Second || g.Endpoint != "" {
		t.Errorf("loose: %+v", g)
	}
	_, generic, _ := c.Profile("generic")
	if g := generic.LocalExecGate; g == nil || !g.Enforces() || g.HITLMaxWait.Or(0) != 0 {
		t.Errorf("a profile changed the defaults: %+v", g)
	}
	if _, p, _ := (&Config{}).Profile("generic"); p.LocalExecGate != nil {
		t.Error("a gate without a configuration")
	}
}

func TestLocalExecSockets(t *testing.T) {
	for _, tt := range []struct{ in, ask, approve string }{
		{"", "", ""},
		{"socket_path = '/a/x'", "/a/x", "/a/x-approve"},
		{"socket_path = '/a/x.sock'\nmanagement_socket_path = '/b/y.sock'", "/a/x.sock", "/b/y.sock"},
	} {
		c := parse(t, "f.toml", "[sidecar.local_exec]\n"+tt.in)
		if ask, approve := c.Sidecar.LocalExec.Sockets(); ask != tt.ask || approve != tt.approve {
			t.Errorf("%q: %s, %s", tt.in, ask, approve)
		}
	}
	for in, want := range map[string]string{"unix:///run/f/sidecar.sock": "unix:/run/f/sidecar-tools.sock", "unix:/run/side": "unix:/run/side-tools.sock", "tcp://127.0.0.1:1": "", "": "", "local": ""} {
		if got, ok := EndpointOf(in); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v", in, got, ok)
		}
	}
}

func TestLocalExecRefused(t *testing.T) {
	const gate = "[run.profiles.a.sidecar_local_exec]\n"
	for _, tt := range []struct{ name, text, want string }{
		{"relative socket", "[sidecar.local_exec]\nsocket_path = 'x.sock'", "f.toml:2:1: sidecar.local_exec.socket_path = x.sock is not an absolute path"},
		{"long socket", "[sidecar.local_exec]\nsocket_path = '/" + strings.Repeat("x", 107) + "'", "at most 107 bytes"},
		{"one socket for both", "[sidecar.local_exec]\nsocket_path = '/a/x'\nmanagement_socket_path = '/a/x'", "who may ask must not be able to approve"},
		{"approvals alone", "[sidecar.local_exec]\nmanagement_socket_path = '/a/x'", "needs socket_path"},
		{"action", "[sidecar.local_exec]\ndefault_action = 'ask'", `is "allow" or "deny" or "pending_hitl", not ask`},
		{"zero ttl", "[sidecar.local_exec]\ntoken_ttl = '0s'", "must be more than zero"},
		{"zero retry", "[sidecar.local_exec]\nretry_after = '0s'", "must be more than zero"},
		{"unknown", "[sidecar.local_exec]\nsocket_pth = '/a'", "did you mean socket_path?"},
		{"endpoint", gate + "endpoint = '/run/x.sock'", "f.toml:2:1: run.profiles.a.sidecar_local_exec.endpoint is wrong: /run/x.sock: write unix:/PATH or tcp:HOST:PORT"},
		{"relative endpoint", gate + "endpoint = 'unix:x.sock'", "needs an absolute path"},
		{"zero timeout", gate + "timeout = '0s'", "must be more than zero"},
		{"zero wait", gate + "hitl_max_wait_ms = 0", "must be more than zero"},
		{"mode", gate + "hitl_mode = 'wait'", `is "sync_wait" or "async_token", not wait`},
		{"tree", gate + "scope = 'tree'", `"tree" is not built in this version; there is "launch"`},
		{"a name", gate + "allowed_executables = ['/bin/sh', 'git']", "f.toml:2:35: run.profiles.a.sidecar_local_exec.allowed_executables[1] = git is not an absolute path"},
		{"both names", gate + "[run.profiles.a.command_mediator]\n", "are one setting, set twice"},
		{"both timeouts", gate + "timeout = '1s'\ntimeout_ms = 1000", "are one setting, set twice"},
	} {
		_, err := Parse("f.toml", []byte(tt.text))
		if fault.NameOf(err) != "ConfigValidation" || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
