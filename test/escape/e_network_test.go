package escape

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	proxy    = "127.0.0.1:18080"
	resolver = "127.0.0.1:53"
)

// withConfig lets loopback origins answer under test names, and allows one.
func withConfig(y *yard) []string { return []string{"--config", y.config, "--allow", "allowed.test"} }

// E: the network directly, past the proxy.
var networkCases = []kase{
	{
		id: "E1", about: "clients that ignore the proxy", flags: withConfig,
		tries: func(y *yard) []attempt {
			at := y.origin.PlainAddr().String()
			return []attempt{
				try("http", proxy, "GET", "http://allowed.test/").expect(allowed),
				try("http", at, "GET", "/", "Host: evil.test"),
				try("http", at, "GET", "/", "Host: denied.test"),
				try("tcp-open", y.origin.TLSAddr().String()),
				try("dns", resolver, "evil.test").instead("dns", y.dns, "evil.test").audited("evil.test"),
				try("dns", resolver, "allowed.test").expect(allowed),
			}
		},
	},
	{
		id: "E3", about: "other ports: raw ones, and of an allowed host", flags: withConfig,
		tries: func(y *yard) []attempt {
			at := y.origin.PlainAddr().String()
			var all []attempt
			for _, a := range y.lan {
				all = append(all, try("tcp", a, "token"))
			}
			for _, p := range []string{"22", "25", "4444", "8443"} {
				all = append(all, try("through", proxy, "allowed.test:"+p, "x").instead("tcp-open", at).audited("allowed.test:"+p))
			}
			return append(all, try("http", proxy, "GET", "http://allowed.test:4444/").instead("http", at, "GET", "/", "Host: evil.test").audited("allowed.test:4444"))
		},
	},
	{
		id: "E5", about: "names that carry data to their own name server",
		tries: func(y *yard) []attempt {
			label := strings.ToLower(y.canary) + ".evil.test"
			return []attempt{
				try("dns", y.dns, label),
				try("udp", y.dns, "x").instead("udp", y.udp4, "x"),
				try("dns", resolver, label).instead("dns", y.dns, label).audited(label),
				try("dns", "8.8.8.8:53", label).instead("dns", y.dns, label),
				try("dns", "[2001:db8::53]:53", label).instead("dns", y.dns, label),
				try("http", proxy, "GET", "http://"+label+"/").instead("dns", y.dns, label).audited(label),
				try("through", proxy, label+":443", "x").instead("dns", y.dns, label).audited(label),
			}
		},
	},
	{
		id: "E7", about: "the host's loopback and its other addresses, by every protocol",
		tries: hostLoopback,
	},
	{
		id: "E13", about: "a proxy of the agent's own choosing", flags: withConfig,
		tries: func(y *yard) []attempt {
			at := y.origin.PlainAddr().String()
			return []attempt{
				try("http", y.tcp4, "GET", "http://evil.test/"),
				try("through", y.tcp4, "evil.test:443", "x").instead("tcp", y.tcp4, "x"),
				try("http", proxy, "GET", "http://evil.test/", "Proxy-Authorization: Basic YTpi", "Forwarded: host=allowed.test", "X-Forwarded-Host: allowed.test").
					instead("http", at, "GET", "/", "Host: evil.test").audited("evil.test"),
			}
		},
	},
}

// hostLoopback aims at the baits by every address that means this host, and every
// way to send to it.
func hostLoopback(y *yard) []attempt {
	port := netip.MustParseAddrPort(y.tcp4).Port()
	mapped := netip.AddrPortFrom(netip.MustParseAddr("::ffff:127.0.0.1"), port).String()
	unspecified := netip.AddrPortFrom(netip.IPv4Unspecified(), port).String()
	port6 := netip.MustParseAddrPort(y.tcp6).Port()
	unspecified6 := netip.AddrPortFrom(netip.IPv6Unspecified(), port6).String()
	var all []attempt
	for _, a := range append([]string{y.tcp4, mapped, unspecified, y.tcp6, unspecified6}, y.lan...) {
		all = append(all, try("tcp", a, "token"), try("mptcp", a, "token"))
	}
	all = append(all,
		// Fast open is off on most servers; the kernel then connects as usual.
		try("tcp-fast", y.tcp4, "token"),
		try("udp", y.udp4, "token"), try("udp", y.udp6, "token"),
		try("sctp", y.tcp4, "token").noControl("the bait speaks no SCTP"),
		try("udp-lite", y.udp4, "token").noControl("the bait speaks no UDP-Lite"),
		try("tcp-open", "127.0.0.1:22").noControl("no server there"),
		try("tcp-open", "8.8.8.8:53").noControl("this machine's way to the internet is not part of the test"),
		try("tcp-open", "[2001:4860:4860::8888]:53").noControl("this machine's way to the internet is not part of the test"),
		try("unix", y.abstract, "token"),
	)
	return all
}

// spellings of 127.0.0.1 and of this host that a parser may take for something
// else.
func spellings(y *yard) []string {
	port := y.tcp4[strings.LastIndexByte(y.tcp4, ':'):]
	all := []string{"127.0.0.1" + port, "127.1" + port, "127.0.1" + port, "2130706433" + port, "0x7f000001" + port, "0x7f.0.0.1" + port,
		"0177.0.0.1" + port, "017700000001" + port, "localhost" + port, "LOCALHOST." + port, "[::1]" + port, "[::ffff:127.0.0.1]" + port,
		"[::ffff:7f00:1]" + port, "[0:0:0:0:0:0:0:1]" + port, "[::127.0.0.1]" + port, "[64:ff9b::7f00:1]" + port, "[2002:7f00:1::]" + port,
		"0.0.0.0" + port, "0" + port, "[::]" + port, "127.0.0.1." + port, "%31%32%37.0.0.1" + port, "①②⑦.0.0.1" + port}
	return append(all, y.lan...)
}

// metadata are spellings of the cloud's metadata service.
var metadata = []string{"169.254.169.254", "2852039166", "0xA9FEA9FE", "0xA9.0xFE.0xA9.0xFE", "0251.0376.0251.0376", "025177524776",
	"169.254.43518", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[fd00:ec2::254]", "metadata.google.internal",
	"169.254.170.2", "100.100.100.200", "[fe80::1]"}

// Destinations through the proxy. They are allowed by name here, so that what
// refuses them is the address.
var destinationCases = []kase{
	{
		id: "E7-proxy", about: "the host's loopback through the proxy, in every spelling",
		flags: func(y *yard) []string {
			f := []string{"--allow", y.tcp4, "--allow", "localhost" + y.tcp4[strings.LastIndexByte(y.tcp4, ':'):]}
			for _, a := range y.lan {
				f = append(f, "--allow", a)
			}
			return f
		},
		tries: func(y *yard) []attempt {
			var all []attempt
			for _, s := range spellings(y) {
				all = append(all,
					try("http", proxy, "GET", "http://"+s+"/").instead("http", y.tcp4, "GET", "/", "Host: x"),
					try("through", proxy, s, "token").instead("tcp", y.tcp4, "token"))
			}
			all[0] = all[0].audited("127.0.0.1")
			return all
		},
	},
	{
		id: "E9", about: "the cloud's metadata service, directly and in every spelling through the proxy",
		flags: func(*yard) []string {
			return []string{"--allow", "169.254.169.254", "--allow", "metadata.google.internal"}
		},
		tries: func(*yard) []attempt {
			const none = "there is no metadata service to reach here; the answer of the wall is what is tested"
			all := []attempt{
				try("tcp-open", "169.254.169.254:80").noControl(none),
				try("tcp-open", "[fd00:ec2::254]:80").noControl(none),
			}
			for _, m := range metadata {
				all = append(all,
					try("http", proxy, "GET", "http://"+m+"/latest/meta-data/").noControl(none),
					try("through", proxy, m+":80", "x").noControl(none))
			}
			all[2] = all[2].audited("169.254.169.254")
			return all
		},
		check: func(t *testing.T, _ *yard, r *ran) {
			for _, e := range r.events {
				if e.Outcome == "ABORT" {
					t.Errorf("ESCAPED     it was dialled: %s", e.Raw)
				}
			}
		},
	},
}

// TestNothingIsAskedUpstreamBeforeAnAllow is E5 with this host's resolver
// replaced by the bait, so that a question of the Sidecar's would be heard. The
// allowed name proves that the bait is who is asked.
func TestNothingIsAskedUpstreamBeforeAnAllow(t *testing.T) {
	if os.Getuid() != 0 || *wall != "firma" {
		t.Skip("replacing the resolver of a process needs root")
	}
	for _, a := range accounts(t) {
		t.Run(a.Name, func(t *testing.T) {
			y := newYard(t, a)
			if _, err := y.baits.DNS("resolver", "127.0.0.77:53"); err != nil {
				t.Fatalf("port 53 of 127.0.0.77 is needed: %v", err)
			}
			conf := filepath.Join(y.Base, "resolv.conf")
			must(t, os.WriteFile(conf, []byte("nameserver 127.0.0.77\noptions timeout:1 attempts:1\n"), 0o644))
			label := strings.ToLower(y.canary)
			asked := func(name string) bool {
				batch := [][]string{{"dns", resolver, name}, {"http", proxy, "GET", "http://" + name + "/"}, {"through", proxy, name + ":443", "x"}}
				y.baits.Reset()
				y.behindResolver(t, conf, "--allow", "allowed.test", "--", y.probe, "batch", encode(t, batch))
				for _, h := range y.baits.Hits() {
					if h.Bait == "resolver" && strings.Contains(strings.ToLower(h.Payload), "dns "+name) {
						return true
					}
				}
				return false
			}
			if !asked("allowed.test") {
				t.Error("INVALID     the bait is not who an allowed name is asked of")
			}
			for _, name := range []string{label + ".evil.test", label + ".allowed.test.evil.test"} {
				if asked(name) {
					t.Errorf("ESCAPED     %s reached its name server", name)
				}
			}
		})
	}
}

// behindResolver runs firma in a mount namespace in which conf is resolv.conf.
func (y *yard) behindResolver(t *testing.T, conf string, args ...string) {
	t.Helper()
	script := `mount --bind "$0" /etc/resolv.conf && exec setpriv --reuid "$1" --regid "$2" --clear-groups "${@:3}"`
	words := append([]string{"-m", "bash", "-c", script, conf, itoa(y.Account.UID), itoa(y.Account.GID), y.Firma, "run", "--authority", "local", "--quiet"}, args...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", words...)
	cmd.Dir, cmd.Env = y.Project, append(y.Env, y.secrets()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
