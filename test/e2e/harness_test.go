package e2e

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"firma/internal/testkit/account"
	"firma/internal/testkit/origin"
	"firma/internal/testkit/world"
)

// stage is one account's world with the origins that its agents may or may not
// reach.
type stage struct {
	*world.World
	origin *origin.Origin
	hosts  map[string]string // name → address, for [sidecar.egress.hosts]
	config string            // the stage's own configuration
	certs  string            // directory of the origins' ca.pem, server.pem and server.key
	serial atomic.Int64      // makes names of files unique
}

// everyone plays a story as each account the tests can take.
func everyone(t *testing.T, story func(t *testing.T, s *stage)) {
	t.Helper()
	all, err := account.All()
	must(t, err)
	for _, a := range all {
		t.Run(a.Name, func(t *testing.T) { story(t, newStage(t, a)) })
	}
}

// names of the origins' certificate. plain.test and evil.test are served in plain
// HTTP, the others in TLS.
var names = []string{"plain.test", "secure.test", "git.test", "nginx.test", "evil.test", "example.com",
	"go.test", "apt.test", "gem.test", "composer.test", "maven.test", "trust.test", "pypi.test", "npm.test", "cargo.test", "only.test", "tunnel.test",
	"api.anthropic.com", "api.openai.com", "generativelanguage.googleapis.com"}

func newStage(t *testing.T, a account.Account) *stage {
	t.Helper()
	s := &stage{World: world.New(t, a)}
	s.certs = s.fresh(t, "certs")
	s.origin = s.newOrigin(t, nil)
	plain, tls := s.origin.PlainAddr().String(), s.origin.TLSAddr().String()
	s.hosts = map[string]string{"plain.test": plain, "evil.test": plain, "unmapped.test": plain, "secure.test": tls}
	must(t, os.CopyFS(s.Project, os.DirFS("testdata/agent")))
	must(t, os.WriteFile(filepath.Join(s.Project, "ca.pem"), s.origin.CAPEM(), 0o644))
	must(t, a.OwnTree(s.Home))
	s.config = s.configure(t, settings{})
	return s
}

// newOrigin starts an origin with the stage's certificate.
func (s *stage) newOrigin(t *testing.T, git http.Handler) *origin.Origin {
	t.Helper()
	o, err := origin.Start(origin.Options{Plain: "127.0.0.1:0", TLS: "127.0.0.1:0", Names: names, CertDir: s.certs, Git: git})
	must(t, err)
	must(t, s.Account.OwnTree(s.certs))
	t.Cleanup(func() { _ = o.Close() })
	return o
}

// rules classify the stage's names: plain.test can be read and written but not
// administered (the dev posture forbids repo.admin), secure.test is for tunnels,
// evil.test is administration whatever one asks. unmapped.test has no rule.
const rules = `version = 2

[[rules]]
method = "GET"
host = "plain.test"
path = "/**"
action_class = "code.read"

[[rules]]
method = "HEAD"
host = "plain.test"
path = "/**"
action_class = "code.read"

[[rules]]
method = "POST"
host = "plain.test"
path = "/**"
action_class = "code.write"

[[rules]]
method = "PUT"
host = "plain.test"
path = "/**"
action_class = "code.write"

[[rules]]
method = "POST"
host = "plain.test"
path = "/admin/**"
action_class = "repo.admin"

[[rules]]
method = "CONNECT"
host = "secure.test"
action_class = "communication.external.send"

[[rules]]
host = "evil.test"
action_class = "repo.admin"
`

// rule is one more [[rules]] table for settings: any method, and tunnels.
func rule(host, class string) string {
	return fmt.Sprintf("\n[[rules]]\nhost = %q\naction_class = %q\n", host, class)
}

// settings are what a test's firma.toml has besides the stage's own.
type settings struct {
	hosts   map[string]string // on top of the stage's
	rules   string            // [[rules]] tables on top of the stage's
	mapping string            // lines of [sidecar.mapping]
	more    string            // tables
}

// configure writes a firma.toml with its rules and returns its path.
func (s *stage) configure(t testing.TB, c settings) string {
	t.Helper()
	dir := s.fresh(t, "config")
	hosts := maps.Clone(s.hosts)
	maps.Copy(hosts, c.hosts)
	text := "[sidecar.mapping]\nrules_path = \"rules.toml\"\n" + c.mapping + "\n\n" + overrides(hosts) + "\n" + c.more
	path := filepath.Join(dir, "firma.toml")
	must(t, errors.Join(
		os.WriteFile(path, []byte(text), 0o644),
		os.WriteFile(filepath.Join(dir, "rules.toml"), []byte(rules+c.rules), 0o644)))
	return path
}

// configureShipped writes a firma.toml without rules of its own: what ships, and
// what the host is configured for, is in force.
func (s *stage) configureShipped(t testing.TB, hosts map[string]string) string {
	t.Helper()
	path := filepath.Join(s.fresh(t, "config"), "firma.toml")
	must(t, os.WriteFile(path, []byte(overrides(hosts)), 0o644))
	return path
}

// configureWith puts lines before the first table of a firma.toml.
func (s *stage) configureWith(t testing.TB, path, text string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, append([]byte(text), data...), 0o644))
	return path
}

func overrides(hosts map[string]string) string {
	var b strings.Builder
	b.WriteString("[sidecar.egress.hosts]\n")
	for _, h := range slices.Sorted(maps.Keys(hosts)) {
		fmt.Fprintf(&b, "%q = %q\n", h, hosts[h])
	}
	return b.String()
}

// fresh makes a directory of the account that nothing has used yet.
func (s *stage) fresh(t testing.TB, name string) string {
	t.Helper()
	dir := filepath.Join(s.Base, name+"-"+strconv.FormatInt(s.serial.Add(1), 10))
	must(t, errors.Join(os.Mkdir(dir, 0o700), s.Account.Own(dir)))
	return dir
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
