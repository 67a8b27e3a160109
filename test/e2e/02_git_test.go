package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"firma/internal/testkit/gitserve"
)

// cloneFetchPush is what a developer does: two clones, a commit pushed from one
// and fetched by the other.
const cloneFetchPush = `set -e
cd ~
git config --global user.name agent
git config --global user.email agent@git.test
git clone -q "$1" one
git clone -q "$1" two
cat one/README
git -C one commit -q --allow-empty -m second
git -C one push -q origin main
git -C two fetch -q
git -C two log --format=%s origin/main
`

// repository makes demo.git, owned by the account, and returns the directory it is in.
func (s *stage) repository(t *testing.T) string {
	t.Helper()
	root := s.fresh(t, "repos")
	must(t, gitserve.NewRepo(root, "demo", "hello from the far side\n"))
	return root
}

func history(t *testing.T, root string) string {
	t.Helper()
	cmd := exec.Command("git", "-c", "safe.directory=*", "-C", filepath.Join(root, "demo.git"), "log", "--format=%s", "main")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git log: %v: %s", err, out)
	}
	return string(out)
}

// TestGit: clone, fetch and push over TLS, to git's own backend and to a real nginx.
func TestGit(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		t.Run("http-backend", func(t *testing.T) {
			root := s.repository(t)
			h, err := gitserve.Handler(root)
			must(t, err)
			s.git(t, "git.test", s.newOrigin(t, h).TLSAddr().String(), root)
		})
		t.Run("nginx", func(t *testing.T) {
			root := s.repository(t)
			must(t, s.Account.OwnTree(root))
			o := gitserve.NginxOptions{Root: root, Cert: filepath.Join(s.certs, "server.pem"), Key: filepath.Join(s.certs, "server.key")}
			if s.Account.Ordinary() {
				o.Identity, o.Own = s.Account.Apply, func(p string) error { return s.Account.Own(p) }
			}
			n, err := gitserve.StartNginx(o)
			must(t, err)
			t.Cleanup(func() { _ = n.Close() })
			s.git(t, "nginx.test", n.TLSAddr().String(), root)
			log, err := os.ReadFile(n.AccessLog())
			must(t, err)
			if !strings.Contains(string(log), "POST /demo.git/git-receive-pack") {
				t.Errorf("nginx saw no push:\n%s", log)
			}
		})
	})
}

func (s *stage) git(t *testing.T, name, addr, root string) {
	t.Helper()
	p := run("bash", "-c", "export GIT_SSL_CAINFO=$PWD/ca.pem\n"+cloneFetchPush, "git", "https://"+name+"/demo.git")
	p.config = s.configure(t, settings{hosts: map[string]string{name: addr}, rules: rule(name, "code.write")})
	r := s.run(t, p).wantCode(t, 0)
	if want := "hello from the far side\nsecond\nfirst\n"; r.out != want {
		t.Errorf("the agent saw %q, want %q", r.out, want)
	}
	if got := history(t, root); got != "second\nfirst\n" {
		t.Errorf("at the far side: %q", got)
	}
	events := r.events(t)
	tunnels := find(events, pattern("tunnel", "ALLOW", "", name))
	ends := find(events, answered(name, 200))
	if len(tunnels) == 0 || len(ends) != len(tunnels) {
		t.Errorf("%d tunnels, %d of them ended well%s", len(tunnels), len(ends), told(events))
	}
	s.wantSealed(t, r)
}

// readOnly classes what git asks a server for by what it is: reading is code.read,
// writing is administration, which the dev posture forbids.
const readOnly = `
[[rules]]
method = "GET"
host = "git.test"
path = "/demo.git/info/refs"
query = { service = "git-upload-pack" }
action_class = "code.read"

[[rules]]
method = "POST"
host = "git.test"
path = "/demo.git/git-upload-pack"
action_class = "code.read"

[[rules]]
host = "git.test"
path = "/**"
action_class = "repo.admin"
`

// TestGitPushRefused: with plain HTTP the Sidecar sees what is asked, so a clone
// can be allowed and a push refused.
func TestGitPushRefused(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		root := s.repository(t)
		h, err := gitserve.Handler(root)
		must(t, err)
		p := run("bash", "-c", cloneFetchPush, "git", "http://git.test/demo.git")
		p.config = s.configure(t, settings{hosts: map[string]string{"git.test": s.newOrigin(t, h).PlainAddr().String()}, rules: readOnly})
		r := s.run(t, p).wantCode(t, 128)
		if r.out != "hello from the far side\n" || !strings.Contains(r.err, "403") {
			t.Errorf("the agent saw %s", r)
		}
		if got := history(t, root); got != "first\n" {
			t.Errorf("at the far side: %q", got)
		}
		refused := wantRecorded(t, r.events(t), 1, pattern("request", "DENY", "PolicyDenied", "git.test/demo.git/info/refs"))
		if len(refused) == 1 && refused[0].Action != "repo.admin" {
			t.Errorf("the push was classed %s", refused[0].Action)
		}
	})
}
