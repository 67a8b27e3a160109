package e2e

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"firma/internal/testkit/canary"
	"firma/internal/testkit/world"
)

// sentences are what the guide promises of the inside of a sandbox, each with the
// test that holds it to its word.
var sentences = []struct {
	says string
	hold func(t *testing.T, s *stage)
}{
	{"the agent sees: a loopback interface where only 127.0.0.1:18080 is reachable", onlyTheBridge},
	{"the agent sees: a DNS stub that answers only the hostnames the Sidecar is configured to route", onlyRoutedNames},
	{"the agent sees: HTTP_PROXY and HTTPS_PROXY set to the proxy bridge", proxyVariables},
	{"the agent sees: whatever filesystem the profile mounts", profilesMounts},
	{"it does not see: the capability token", noToken},
	{"it does not see: host environment variables", noEnvironment},
	{"it does not see: host filesystem outside profile-mounted paths", noOtherFiles},
	{"it cannot: open a raw TCP socket to anything but the proxy bridge", noRawSocket},
	{"it cannot: resolve and connect to 8.8.8.8 port 53 to do its own DNS", noOwnDNS},
	{"it cannot: spawn a child that bypasses HTTP_PROXY", noBypassingChild},
	{"it cannot: read host files containing secrets", noSecrets},
	{"what it can do is whatever its capability and policy allow", whatPolicyAllows},
	{"it runs under a sandbox identity", sandboxIdentity},
}

// TestSeed holds the guide to its word.
func TestSeed(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		for _, p := range sentences {
			t.Run(p.says, func(t *testing.T) { p.hold(t, s) })
		}
	})
}

// lines runs a script and returns what the agent saw, line by line.
func (s *stage) lines(t *testing.T, p play) []string {
	t.Helper()
	return strings.Split(strings.TrimSuffix(s.run(t, p).wantCode(t, 0).out, "\n"), "\n")
}

// onlyTheBridge: of all ports of 127.0.0.1, the proxy's and the DNS stub's; of the
// host's own loopback, nothing.
func onlyTheBridge(t *testing.T, s *stage) {
	if got := s.lines(t, sh(`tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '`)); !slices.Equal(got, []string{"lo"}) {
		t.Errorf("interfaces: %q", got)
	}
	outside := []string{"127.0.0.1/" + port(s.origin.PlainAddr().String()), "::1/18080", "127.0.0.2/18080"}
	got := s.lines(t, run(append([]string{"python3", "ports.py", "127.0.0.1"}, outside...)...))
	want := []string{"127.0.0.1 53 18080", outside[0], outside[1], outside[2]}
	if !slices.Equal(got, want) {
		t.Errorf("reachable: %q, want %q", got, want)
	}
	control := s.Run(t, cmdOf("/usr/bin/python3", filepath.Join(s.Project, "ports.py"), outside[0]))
	if strings.TrimSpace(control.Stdout) != outside[0]+" "+port(outside[0]) {
		t.Errorf("INVALID: outside, the origin's port is not open either: %s", control.Stdout)
	}
}

func port(addr string) string { return addr[strings.LastIndexAny(addr, ":/")+1:] }

func onlyRoutedNames(t *testing.T, s *stage) {
	got := s.lines(t, run("python3", "names.py", "plain.test", "secure.test", "unmapped.test", "example.com", "localhost"))
	for i, want := range []string{"plain.test 198.1", "secure.test 198.1", "unmapped.test NXDOMAIN", "example.com NXDOMAIN", "localhost 127.0.0.1"} {
		if !strings.HasPrefix(got[i], want) {
			t.Errorf("%q, want %q", got[i], want)
		}
	}
}

func proxyVariables(t *testing.T, s *stage) {
	p := sh(`env | grep -i '^https\?_proxy=' | sort`)
	p.env = []string{"HTTP_PROXY=http://elsewhere.test:1", "https_proxy=http://elsewhere.test:1"} // the host's are not passed on
	want := []string{"HTTPS_PROXY", "HTTP_PROXY", "http_proxy", "https_proxy"}
	got := s.lines(t, p)
	slices.Sort(got)
	for i := range want {
		if i >= len(got) || got[i] != want[i]+"=http://127.0.0.1:18080" {
			t.Errorf("%q, want %s", got, want[i])
		}
	}
}

// profilesMounts: generic shows the system and the current directory, both
// read-only; codex shows a workspace to write to.
func profilesMounts(t *testing.T, s *stage) {
	known := strings.Fields("bin dev etc home lib lib32 lib64 libx32 proc run sbin tmp usr var")
	for _, name := range s.lines(t, sh("ls -A /")) {
		if !slices.Contains(known, name) {
			t.Errorf("generic shows /%s", name)
		}
	}
	if got := s.lines(t, sh(`ls -A ~ /var/tmp /run | grep -v : | tr -d '\n'; echo end`)); !slices.Equal(got, []string{"firmaend"}) { // /run/firma: whom to trust
		t.Errorf("the private directories hold %q", got)
	}
	if got := s.lines(t, sh(`grep -rl PRIVATE /run/firma; echo end`)); !slices.Equal(got, []string{"end"}) {
		t.Errorf("/run/firma holds a secret: %q", got)
	}
	write := `for d in . /usr /etc / /usr/local; do touch $d/new 2>/dev/null && echo $d; done; touch ~/x /tmp/x && echo private`
	if got := s.lines(t, sh(write)); !slices.Equal(got, []string{"private"}) {
		t.Errorf("generic may write to %q", got)
	}
	p := sh(write)
	p.flags = append(p.flags, "--profile", "codex")
	if got := s.lines(t, p); !slices.Equal(got, []string{".", "private"}) {
		t.Errorf("codex may write to %q", got)
	}
	if _, err := os.Stat(filepath.Join(s.Project, "new")); err != nil {
		t.Errorf("what the agent wrote is not in the workspace: %v", err)
	}
	must(t, os.Remove(filepath.Join(s.Project, "new")))
}

// noToken: neither files nor processes nor what arrives at the origin hold one. A
// token is the only thing that starts with "v4.public." (PASETO).
func noToken(t *testing.T, s *stage) {
	got := s.lines(t, sh("curl -sS http://plain.test/headers >/tmp/headers; bash search.sh "+canary.Backwards("v4.public.")))
	if !slices.Equal(got, []string{"searched"}) {
		t.Errorf("found in %q", got)
	}
	for _, r := range s.origin.Requests("") {
		for name, values := range r.Header {
			if strings.Contains(fmt.Sprint(values), "v4.public.") {
				t.Errorf("sent to the origin in %s", name)
			}
		}
	}
}

func noEnvironment(t *testing.T, s *stage) {
	word := canary.Value()
	p := sh("bash search.sh " + canary.Backwards(word) + "; env | grep -v '=/run/firma/' | cut -d= -f1 | sort | tr '\n' ' '")
	for _, name := range []string{"AWS_SECRET_ACCESS_KEY", "ANTHROPIC_API_KEY", "GITHUB_TOKEN", "MY_OWN", "LD_PRELOAD_X", "BASH_ENV_X", "EDITOR"} {
		p.env = append(p.env, name+"="+word)
	}
	got := s.lines(t, p)
	if got[0] != "searched" {
		t.Errorf("found in %q", got)
	}
	known := strings.Fields(`ALL_PROXY FIRMA_AGENT_ID FIRMA_RUN_PROFILE FIRMA_RUN_SANDBOX_ID FIRMA_RUN_SESSION_ID HOME HTTPS_PROXY HTTP_PROXY
		LANG LOGNAME DENO_TLS_CA_STORE JAVA_TOOL_OPTIONS NODE_USE_ENV_PROXY NO_PROXY PATH PWD SHELL SHLVL TERM USER _ all_proxy http_proxy https_proxy no_proxy`)
	for _, name := range strings.Fields(got[len(got)-1]) {
		if !slices.Contains(known, name) {
			t.Errorf("there is a variable %s", name)
		}
	}
}

// noOtherFiles: what is next to the project, in the home and in the host's temporary
// and run-time directories does not exist inside.
func noOtherFiles(t *testing.T, s *stage) {
	word := canary.Value()
	var outside []string
	for _, dir := range []string{s.Base, s.Home, filepath.Dir(s.Base), s.Runtime, "/var/tmp"} {
		path := filepath.Join(dir, "outside-"+word)
		must(t, errors.Join(os.WriteFile(path, []byte(word), 0o644), s.Account.Own(path)))
		t.Cleanup(func() { _ = os.Remove(path) })
		outside = append(outside, path)
	}
	if control := s.Run(t, world.Command{Args: append([]string{"/bin/cat"}, outside...)}); strings.Count(control.Stdout, word) != len(outside) {
		t.Fatalf("INVALID: outside they can't be read either: %s", control.Stderr)
	}
	for _, profile := range []string{"generic", "codex"} {
		p := run(append([]string{"ls", "-d"}, append(outside, filepath.Join(s.Home, ".config"), s.State, "/root", "/etc/shadow", "/boot", "/sys", "/var/lib", "/var/log")...)...)
		p.flags = []string{"--quiet", "--profile", profile}
		if r := s.run(t, p); r.out != "" {
			t.Errorf("%s shows %s", profile, r.out)
		}
	}
}

func noRawSocket(t *testing.T, s *stage) {
	s.origin.Reset()
	at := s.origin.PlainAddr()
	got := s.lines(t, run("python3", "ports.py", fmt.Sprintf("127.0.0.1/%d", at.Port()), "192.0.2.1/80", "198.51.100.1/80", "2001:db8::1/80", "127.0.0.1/18080"))
	want := []string{fmt.Sprintf("127.0.0.1/%d", at.Port()), "192.0.2.1/80", "198.51.100.1/80", "2001:db8::1/80", "127.0.0.1/18080 18080"}
	if !slices.Equal(got, want) {
		t.Errorf("connected: %q, want %q", got, want)
	}
	if len(s.origin.Records()) != 0 {
		t.Errorf("arrived: %v", s.origin.Records())
	}
}

// noOwnDNS: 8.8.8.8 is a dead end, and so is a name server of the host's.
func noOwnDNS(t *testing.T, s *stage) {
	yard := &canary.Yard{}
	t.Cleanup(func() { _ = yard.Close() })
	server, err := yard.DNS("the host's", "127.0.0.1:0")
	must(t, err)
	mine := []string{"127.0.0.1", fmt.Sprint(server.Port), "leak.example.com"}
	s.Run(t, cmdOf(append([]string{"/usr/bin/python3", filepath.Join(s.Project, "ask_dns.py")}, mine...)...))
	if len(yard.Hits()) == 0 {
		t.Fatal("INVALID: outside, the name server is not asked either")
	}
	yard.Reset()
	for _, at := range [][]string{{"8.8.8.8", "53", "plain.test"}, mine} {
		if got := s.lines(t, run(append([]string{"python3", "ask_dns.py"}, at...)...)); !slices.Equal(got, []string{"dead end", "dead end"}) {
			t.Errorf("%s: %q", at[0], got)
		}
	}
	if hits := yard.Hits(); len(hits) != 0 {
		t.Errorf("asked: %v", hits)
	}
}

// noBypassingChild: a child without the variables, in a session of its own, or
// written to ignore them, is judged like its parent, and reaches nothing past that.
func noBypassingChild(t *testing.T, s *stage) {
	s.origin.Reset()
	p := sh(`env -i curl -sS -m 5 http://evil.test/1; env -i setsid -w curl -sS -m 5 --noproxy '*' "http://$1/2"; (curl -sS -m 5 --noproxy '*' "http://$1/3" &) ; wait
		node -e 'require("http").get("http://evil.test/4").on("error", () => {})'; curl -sS -m 5 --noproxy '*' --resolve "plain.test:80:127.0.0.1" http://plain.test/5; true`)
	p.command = append(p.command, "sh", s.origin.PlainAddr().String())
	s.run(t, p).wantCode(t, 0)
	if arrived := s.origin.Records(); len(arrived) != 0 {
		t.Errorf("arrived: %v", arrived)
	}
	control := s.Run(t, cmdOf("/usr/bin/curl", "-sS", "-m", "5", "--noproxy", "*", "http://"+s.origin.PlainAddr().String()+"/2"))
	if len(s.origin.Requests("")) != 1 {
		t.Errorf("INVALID: outside, it does not arrive either: %s", control.Stderr)
	}
}

func noSecrets(t *testing.T, s *stage) {
	word := canary.Value()
	back := canary.Backwards(word)
	if got := s.lines(t, sh("echo "+back+" | rev >/tmp/planted; bash search.sh "+back)); !slices.Equal(got, []string{"/tmp/planted", "searched"}) {
		t.Fatalf("INVALID: the search does not find what is there: %q", got)
	}
	secrets := canary.Secrets(word)
	must(t, canary.Plant(s.Home, secrets))
	must(t, s.Account.OwnTree(s.Home))
	for _, profile := range []string{"generic", "codex"} {
		p := sh("bash search.sh " + back)
		p.flags = append(p.flags, "--profile", profile)
		if got := s.lines(t, p); !slices.Equal(got, []string{"searched"}) {
			t.Errorf("%s: found in %q", profile, got)
		}
		var paths []string
		for _, name := range slices.Sorted(maps.Keys(secrets)) {
			paths = append(paths, filepath.Join(s.Home, name))
		}
		p = run(append([]string{"cat"}, paths...)...)
		p.flags = []string{"--quiet", "--profile", profile}
		if r := s.run(t, p); strings.Contains(r.out, word) {
			t.Errorf("%s: read by its path: %s", profile, r.out)
		}
	}
	control := s.Run(t, cmdOf("/bin/grep", "-rlF", word, s.Home))
	if n := strings.Count(control.Stdout, "\n"); n != len(secrets) {
		t.Errorf("INVALID: outside, %d of %d secrets are found", n, len(secrets))
	}
}

func whatPolicyAllows(t *testing.T, s *stage) {
	s.origin.Reset()
	got := s.lines(t, sh(`for m in GET POST DELETE; do curl -sS -o /dev/null -w '%{http_code}\n' -X $m http://plain.test/it; done; curl -sS -o /dev/null -w '%{http_code}\n' -X POST http://plain.test/admin/it`))
	if !slices.Equal(got, []string{"200", "200", "403", "403"}) {
		t.Errorf("the agent saw %q", got)
	}
	wantArrived(t, s.origin, []arrival{{"GET /it", 1}, {"POST /it", 1}, {"DELETE /it", 0}, {"POST /admin/it", 0}})
}

func sandboxIdentity(t *testing.T, s *stage) {
	if got := s.lines(t, sh(`id -un; id -u; id -g; grep -c ' 0000000000000000$\|	0000000000000000$' <(grep '^Cap' /proc/self/status); grep NoNewPrivs /proc/self/status | cut -f2; hostname`)); !slices.Equal(got, []string{"agent", "1000", "1000", "5", "1", "firma"}) {
		t.Errorf("the agent is %q", got)
	}
}
