package escape

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"firma/internal/testkit/world"
)

// newCaptured writes a configuration in which names lead to baits whatever port is
// asked for, if only the port is allowed.
func newCaptured(t *testing.T, y *yard, config string) string {
	t.Helper()
	var both http.Protocols
	both.SetUnencryptedHTTP2(true)
	both.SetHTTP1(true)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { y.asked.Add(1) }))
	s.Config.Protocols = &both
	s.Start()
	t.Cleanup(s.Close)
	y.h2c = s.Listener.Addr().String()
	for name, at := range map[string]string{"bait.test": y.tcp4, "h2c.test": y.h2c} {
		config += strconv.Quote(name) + " = " + strconv.Quote(at) + "\n"
	}
	rules := filepath.Join(y.Base, "many.toml")
	must(t, os.WriteFile(rules, []byte("version = 2\n\n[[rules]]\nmethod = \"GET\"\nhost = \"*.many.test\"\npath = \"/**\"\naction_class = \"code.read\"\n"), 0o644))
	path := filepath.Join(y.Base, "captured.toml")
	must(t, os.WriteFile(path, []byte(config+"[sidecar.mapping]\nrules_path = \"many.toml\"\n"), 0o644))
	return path
}

// withCapture allows ports of names, so that others of the same names resolve.
func withCapture(y *yard) []string {
	return []string{"--config", y.captured, "--allow", "allowed.test", "--allow", "sub.allowed.test", "--allow", "bait.test:7", "--allow", "h2c.test",
		"--allow", "203.0.113.7:7"}
}

// captureAlive shows that a client that knows nothing of the proxy gets through.
func captureAlive() attempt {
	return try("http", "allowed.test:80", "GET", "/", "Host: allowed.test").expect(allowed)
}

// Connections that are led to the Sidecar, and what goes past it.
var captureCases = []kase{
	{
		id: "E1-capture", about: "other ports of a name with an address, by every way to open a stream", flags: withCapture,
		tries: func(y *yard) []attempt {
			aim := func(technique, at string) attempt {
				return try(technique, at, "token").instead(technique, y.tcp4, "token").audited(strings.NewReplacer("[", "", "]", "").Replace(at))
			}
			return []attempt{
				captureAlive(),
				aim("tcp", "bait.test:4444"), aim("tcp", "bait.test:22"), aim("tcp", "bait.test:25"),
				// On the web's ports a word could become a request; nothing is decided before it is one.
				try("tcp", "bait.test:443", "\x01token").instead("tcp", y.tcp4, "\x01token").audited("bait.test"),
				aim("tcp", "bait.test:18081"), aim("tcp", "bait.test:18080"), aim("tcp", "bait.test:53"),
				aim("tcp", "[bait.test]:4446"),
				aim("mptcp", "bait.test:4447"), aim("mptcp", "[bait.test]:4448"),
				aim("tcp-fast", "bait.test:4449"), aim("tcp-fast", "[bait.test]:4450"),
				try("tcp-from", "bait.test:4451", "bait.test:4452", "token").instead("tcp-from", "127.0.0.2:0", y.tcp4, "token").audited("bait.test:4452"),
				try("tcp-from", "127.0.0.2:4453", "bait.test:4453", "token").instead("tcp-from", "127.0.0.2:0", y.tcp4, "token").audited("bait.test:4453"),
				try("tcp", "203.0.113.7:4454", "token").instead("tcp", y.tcp4, "token").audited("203.0.113.7:4454"),
				try("tcp", "198.19.255.254:80", "token").instead("tcp", y.tcp4, "token").audited("(malformed capture request)"),
				captureAlive(),
			}
		},
		check: once,
	},
	{
		id: "E3-capture", about: "what is not TCP, to a synthetic address", flags: withCapture,
		tries: func(y *yard) []attempt {
			var all []attempt
			for _, at := range []string{"bait.test:7", "bait.test:443", "bait.test:53", "[bait.test]:7", "[bait.test]:443"} {
				udp := y.udp4
				if at[0] == '[' {
					udp = y.udp6
				}
				all = append(all, try("udp", at, "token").instead("udp", udp, "token"),
					try("udp-lite", at, "token").instead("udp", udp, "token"),
					try("sctp", at, "token").instead("tcp", y.tcp4, "token"))
			}
			return append(all, try("quic", "bait.test:443").instead("quic", y.udp4), try("quic", "allowed.test:443").instead("quic", y.udp4), captureAlive())
		},
	},
	{
		id: "E7-literal", about: "addresses that no rule names: no route, at connect", flags: withCapture,
		tries: func(*yard) []attempt {
			var all []attempt
			for _, at := range literals {
				for _, technique := range []string{"tcp", "mptcp", "tcp-fast", "udp"} {
					all = append(all, try(technique, at, "token").noControl("what other machines answer is not part of the test"))
				}
			}
			return append(all, captureAlive())
		},
		check: func(t *testing.T, _ *yard, r *ran) {
			if *wall != "firma" {
				return
			}
			for _, one := range r.results[:len(r.results)-1] {
				// A link-local address without an interface is none to connect to.
				if one.Errno != "ENETUNREACH" && (one.Errno != "EINVAL" || !strings.HasPrefix(one.Args[0], "[fe80:")) {
					t.Errorf("ESCAPED     %s %s ends in %q %s, not for want of a route", one.Technique, one.Args[0], one.Errno, one.Detail)
				}
			}
			if refusals := world.Refusals(r.events); len(refusals) != 0 {
				t.Errorf("the Sidecar was asked: %s", told(refusals))
			}
		},
	},
	{
		id: "E7-listener", about: "the listener of captured connections itself, and the agent's own in its place", flags: withCapture,
		tries: func(y *yard) []attempt {
			var all []attempt
			for _, at := range []string{"127.0.0.1:18081", "[::1]:18081", "[::ffff:127.0.0.1]:18081", "0.0.0.0:18081", "[::]:18081"} {
				all = append(all, try("tcp-open", at).instead("tcp-open", y.tcp4), try("mptcp", at, "token").instead("mptcp", y.tcp4, "token"),
					try("tcp-fast", at, "token").instead("tcp", y.tcp4, "token"))
			}
			for _, from := range []string{"127.0.0.2:18081", "127.0.0.2:18080", "127.0.0.2:0", "bait.test:0"} {
				all = append(all, try("tcp-from", from, "127.0.0.1:18081", "token").instead("tcp-from", "127.0.0.2:0", y.tcp4, "token"))
			}
			own := func(listen, at string) attempt {
				return try("own-listener", listen, at).instead("own-listener", "127.0.0.1:0", "-").audited(strings.NewReplacer("[", "", "]", "").Replace(at))
			}
			return append(all,
				own("bait.test:4461", "bait.test:4461"), own("0.0.0.0:4462", "bait.test:4462"), own("[::]:4463", "bait.test:4463"),
				// IPv6 gives nobody an address that no interface has.
				try("own-listener", "[bait.test]:4464", "[bait.test]:4464").instead("own-listener", "127.0.0.1:0", "-"), own("[::]:4465", "[bait.test]:4465"),
				try("own-listener", "127.0.0.1:18081", "bait.test:4466").instead("own-listener", "127.0.0.1:0", "-"),
				try("own-listener", "127.0.0.2:18081", "bait.test:4467").instead("own-listener", "127.0.0.1:0", "-").audited("bait.test:4467"),
				try("own-listener", "0.0.0.0:18081", "bait.test:4468").instead("own-listener", "127.0.0.1:0", "-"),
				try("own-listener", "127.0.0.1:0", "-").expect(contained),
				captureAlive())
		},
		check: once,
	},
	{
		id: "B15-capture", about: "the routes and rules that lead connections to the Sidecar", flags: withCapture,
		tries: func(*yard) []attempt {
			owned := func(do ...string) attempt {
				return try(do...).instead(append([]string{"owned"}, do...)...).unless("ENOENT")
			}
			return []attempt{
				owned("link-down"), owned("nft-flush"),
				owned("route-local", "203.0.113.0/24"), owned("route-local", "198.18.0.0/15"), owned("route-del", "198.18.0.0/15"),
				owned("route-local", "fd66:6972:6d61::/96"), owned("route-del", "fd66:6972:6d61::/96"),
				owned("addr-add", "127.99.99.98"),
				owned("program", "ip", "route", "add", "local", "203.0.113.0/24", "dev", "lo"),
				owned("program", "ip", "link", "set", "lo", "down"),
				owned("program", "nft", "flush", "ruleset"),
				owned("program", "iptables", "-t", "nat", "-F"),
				try("own-listener", "bait.test:4471", "bait.test:4471").instead("own-listener", "127.0.0.1:0", "-").audited("bait.test:4471"),
				captureAlive(),
			}
		},
	},
	{
		id: "E5-names", about: "more names than there are addresses", flags: withCapture,
		tries: func(*yard) []attempt {
			return []attempt{
				captureAlive(),
				try("names", "132000", "many.test", "allowed.test").expect(allowed),
				captureAlive(),
				try("http", proxy, "GET", "http://allowed.test/").expect(allowed),
			}
		},
	},
	{
		id: "F5-capture", about: "a captured stream to one name in which another is named, and HTTP/2 without TLS", flags: withCapture,
		tries: func(y *yard) []attempt {
			at, secure := y.origin.PlainAddr().String(), y.origin.TLSAddr().String()
			return []attempt{
				captureAlive(),
				try("http", "allowed.test:80", "GET", "/", "Host: sub.allowed.test").instead("http", at, "GET", "/", "Host: evil.test").audited("(malformed http request)"),
				try("http", "allowed.test:80", "GET", "http://sub.allowed.test/").instead("http", at, "GET", "/", "Host: evil.test"),
				try("tls", "allowed.test:443", "sub.allowed.test").instead("tls", secure, "evil.test").audited("allowed.test"),
				try("tls", "sub.allowed.test:443", "allowed.test").instead("tls", secure, "evil.test").audited("sub.allowed.test"),
				try("h2c", "h2c.test:80", "h2c.test").instead("h2c", y.h2c, "h2c.test").audited("(malformed http request)"),
				captureAlive(),
			}
		},
		prepare: func(_ *testing.T, y *yard) { y.asked.Store(0) },
		check: func(t *testing.T, y *yard, _ *ran) {
			if n := y.asked.Load(); n != 0 {
				t.Errorf("ESCAPED     the server of HTTP/2 without TLS was asked %d times", n)
			}
			for _, r := range y.origin.Requests("sub.allowed.test") {
				t.Errorf("ESCAPED     the origin was reached: %s %s%s", r.Method, r.Host, r.Path)
			}
		},
	},
}

// literals are public, private, reserved and metadata addresses.
var literals = []string{"8.8.8.8:53", "93.184.216.34:80", "10.0.0.1:80", "172.16.0.1:80", "192.168.1.1:80", "100.64.0.1:80", "169.254.169.254:80",
	"169.254.170.2:80", "100.100.100.200:80", "192.0.2.1:443", "198.17.255.255:80", "198.20.0.0:80", "203.0.113.8:7", "224.0.0.251:5353", "255.255.255.255:80", "240.0.0.1:80",
	"[2001:4860:4860::8888]:53", "[2001:db8::1]:443", "[fd00:ec2::254]:80", "[fc00::1]:80", "[64:ff9b::7f00:1]:80", "[2002:7f00:1::]:80",
	"[::ffff:8.8.8.8]:53", "[fd66:6972:6d62::1]:80", "[ff02::1]:80", "[fe80::1]:80"}

// once wants exactly one record of each refusal.
func once(t *testing.T, y *yard, r *ran) {
	if *wall != "firma" {
		return
	}
	count := map[string]int{}
	for _, e := range world.Refusals(r.events) {
		count[e.Resource]++
	}
	for resource, n := range count {
		if n != 1 {
			t.Errorf("%d records of the refusal of %s", n, resource)
		}
	}
}
