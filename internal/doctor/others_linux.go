package doctor

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"

	"firma/internal/fault"
	"firma/internal/launch"
)

func (x *exam) otherBackends() {
	for _, name := range []string{"vz", "wsl2", "firecracker"} {
		f := finding{status: Warn, reason: launch.CheckBackend(name).Error()}
		x.add("backend."+name, "sandbox "+name, f)
	}
}

// others are what a run uses and does not start itself, and its configuration.
func (x *exam) others(ctx context.Context) {
	x.add("sidecar.reachable", "sidecar reachable", x.sidecar(ctx))
	x.add("authority.reachable", "authority reachable", x.authority(ctx))
	x.add("config.parsed", "config parsed", x.configuration())
	x.add("capability.seed", "capability seed", x.seed())
}

func (x *exam) sidecar(ctx context.Context) finding {
	if x.Launch.Sidecar == (launch.Endpoint{}) {
		return good("none is configured: firma run starts its own")
	}
	ctx, cancel := context.WithTimeout(ctx, x.Timeout)
	defer cancel()
	return judge(launch.Probe(ctx, x.Launch.Sidecar), x.Launch.Sidecar.String()+" accepts connections")
}

func (x *exam) authority(ctx context.Context) finding {
	switch x.Authority {
	case "":
		return finding{status: Warn, reason: "none is configured: firma run asks once, or takes --authority local",
			fix: "answer y when it asks, or add an [authority] table to the configuration"}
	case launch.Local:
		return good("firma run starts its own")
	}
	u, err := url.Parse(x.Authority)
	if err != nil {
		return bad(err)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	ctx, cancel := context.WithTimeout(ctx, x.Timeout)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return bad(fault.Wrap(err, "AuthorityUnreachable", "no Authority answers at "+x.Authority, "start it there, or correct the URL"))
	}
	c.Close()
	return good(x.Authority + " accepts connections")
}

func (x *exam) configuration() finding {
	if x.Invalid != nil {
		return bad(x.Invalid)
	}
	if x.Launch.Config.Path == "" {
		return good("no file: the defaults hold")
	}
	return good(x.Launch.Config.Path).with("found by " + x.Launch.Config.Source)
}

// seed looks for the pre-staged capabilities; the Sidecar verifies them.
func (x *exam) seed() finding {
	if x.Invalid != nil {
		return finding{status: Warn, reason: "not tried, since config.parsed failed"}
	}
	paths := x.Launch.Config.Sidecar.CapabilitySeed.Paths
	for _, p := range paths {
		f, err := os.Open(p)
		if err != nil {
			return bad(fault.Wrap(err, "CapabilityFileUnreadable", "a capability seed of the configuration can't be read", "issue it (`firma authority issue`), or take it out of [sidecar.capability_seed]"))
		}
		f.Close()
	}
	if len(paths) == 0 {
		return good("none: the Authority is asked for each run")
	}
	return good(fmt.Sprintf("%d can be read", len(paths)))
}

func (x *exam) directories() {
	x.add("state.dir", "state dir", stateDir(x.Launch.StateDir))
	x.add("data.dir", "data dir", private(x.DataDir, "not there, and not needed"))
}

func stateDir(dir string) finding {
	if err := launch.CheckState(dir); err != nil {
		return bad(err)
	}
	if _, err := os.Stat(dir); err != nil {
		return good("not there yet: the first run makes it").with(dir)
	}
	return good("mode 0700").with(dir)
}

// private warns about a directory that others may look into. Its files are private
// all the same.
func private(dir, absent string) finding {
	st, err := os.Stat(dir)
	if err != nil {
		return good(absent).with(dir)
	}
	if mode := st.Mode().Perm(); mode != 0o700 {
		return finding{status: Warn, reason: fmt.Sprintf("its mode is %04o, not 0700", mode), detail: dir, fix: "`chmod 700 " + dir + "`"}
	}
	return good("mode 0700").with(dir)
}
