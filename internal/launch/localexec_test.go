//go:build linux

package launch

import (
	"strings"
	"testing"
	"time"

	"firma/internal/config"
	"firma/internal/fault"
	"firma/internal/launch/gate"
	"firma/internal/localexec"
	"firma/internal/profile"
)

// planned is what a configuration, read as firma run reads it, asks of the gate.
func planned(t *testing.T, text string, sidecar Endpoint) (keeper, error) {
	t.Helper()
	c, err := config.Parse("/etc/x/firma.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	_, patch, err := c.Profile("codex")
	if err != nil {
		t.Fatal(err)
	}
	var k keeper
	err = k.plan(&Options{Config: c, LocalExec: patch.LocalExecGate, Sidecar: sidecar, StateDir: "/state", Profile: profile.Profile{Name: "codex"}}, "sbx_1")
	return k, err
}

// TestWhomToAsk: which gate a run asks, and whether its own Sidecar serves it.
func TestWhomToAsk(t *testing.T) {
	const own, ask = "[sidecar.local_exec]\n", "[run.profiles.codex.sidecar_local_exec]\n"
	unix, tcp := Endpoint{Network: "unix", Address: "/run/f/side.sock"}, Endpoint{Network: "tcp", Address: "127.0.0.1:8080"}
	for _, tt := range []struct {
		name, text string
		sidecar    Endpoint
		asks       string // "": nobody
		serves     bool
		fault      string
	}{
		{"nothing", "", Endpoint{}, "", false, ""},
		{"another profile's", "[run.profiles.other.sidecar_local_exec]\nendpoint = 'unix:/g'\n", Endpoint{}, "", false, ""},
		{"served only", own, Endpoint{}, "unix:/state/run/sbx_1/local-exec.sock", true, ""},
		{"served and asked", own + ask, Endpoint{}, "unix:/state/run/sbx_1/local-exec.sock", true, ""},
		{"by everyone", own + "[run.defaults.sidecar_local_exec]\n", Endpoint{}, "unix:/state/run/sbx_1/local-exec.sock", true, ""},
		{"served at a place", own + "socket_path = '/p/g.sock'\n", Endpoint{}, "unix:/p/g.sock", true, ""},
		{"served there, asked there", own + "socket_path = '/p/g.sock'\n" + ask + "endpoint = 'unix:///p/g.sock'\n", Endpoint{}, "unix:/p/g.sock", true, ""},
		{"served there, asked elsewhere", own + "socket_path = '/p/g.sock'\n" + ask + "endpoint = 'tcp:127.0.0.1:7'\n", Endpoint{}, "tcp:127.0.0.1:7", false, ""},
		{"somebody else's", ask + "endpoint = 'unix:/g'\n", Endpoint{}, "unix:/g", false, ""},
		{"asked and not served", ask, Endpoint{}, "", false, "ConfigValidation"},
		{"asked, external on a socket", ask, unix, "unix:/run/f/side-tools.sock", false, ""},
		{"asked, external with a known place", own + "socket_path = '/p/g.sock'\n" + ask, tcp, "unix:/p/g.sock", false, ""},
		{"asked, external on TCP", ask, tcp, "", false, "ConfigValidation"},
		{"named, external on TCP", ask + "endpoint = 'unix:/g'\n", tcp, "unix:/g", false, ""},
		{"not asked, external", own, unix, "", false, ""},
	} {
		k, err := planned(t, tt.text, tt.sidecar)
		if fault.NameOf(err) != tt.fault {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		asks := ""
		if k.gate != nil {
			asks = k.gate.Endpoint.String()
		}
		if asks != tt.asks || (k.served != nil) != tt.serves || k.gate != nil && k.gate.Own != tt.serves {
			t.Errorf("%s: asks %q, serves %+v", tt.name, asks, k.served)
		}
	}
}

func TestGateDefaults(t *testing.T) {
	k, err := planned(t, "[run.profiles.codex.sidecar_local_exec]\nendpoint = 'unix:/g'\n", Endpoint{})
	if err != nil {
		t.Fatal(err)
	}
	if g := k.gate; g.Timeout != 500*time.Millisecond || g.MaxWait != 5*time.Minute || g.Mode != localexec.SyncWait || g.EnforceKnown {
		t.Errorf("%+v", g)
	}
}

func TestNothingIsKnown(t *testing.T) {
	yes := true
	var k keeper
	o := &Options{Config: &config.Config{}, LocalExec: &config.LocalExecGate{Endpoint: "unix:/g", EnforceKnownExecutables: &yes}}
	if err := k.plan(o, "sbx_1"); fault.NameOf(err) != "ConfigValidation" {
		t.Errorf("%v", err)
	}
}

// TestNotAllowedIsNotExecuted: with a gate, there is no launch that it did not
// allow, even if nobody asked it.
func TestNotAllowedIsNotExecuted(t *testing.T) {
	k := keeper{gate: &gate.Gate{}, program: &gate.Program{Inside: "/bin/true"}}
	if p, err := k.pinned(); p != nil || fault.NameOf(err) != gate.Name {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := (&keeper{}).pinned(); p != nil || err != nil {
		t.Errorf("without a gate: %+v, %v", p, err)
	}
}

func TestRequiredGateIsMissing(t *testing.T) {
	t.Setenv(gate.RequireVar, "yes")
	r := &run{opts: Options{Config: &config.Config{}}}
	if err := r.planGate(); fault.NameOf(err) != gate.Name || !strings.Contains(err.Error(), gate.RequireVar) {
		t.Errorf("%v", err)
	}
	t.Setenv(gate.RequireVar, "")
	if err := r.planGate(); err != nil {
		t.Errorf("%v", err)
	}
}
