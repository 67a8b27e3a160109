package gitserve

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func repo(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	if err := NewRepo(root, "demo", "hello from the far side\n"); err != nil {
		t.Fatal(err)
	}
	return root
}

func run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(environ(dir), "GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@x", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@x")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// cloneAndPush is what every server of this package must carry.
func cloneAndPush(t *testing.T, url, root string) {
	t.Helper()
	dir := t.TempDir()
	run(t, dir, "clone", "-q", url, "c")
	c := filepath.Join(dir, "c")
	if text, err := os.ReadFile(filepath.Join(c, "README")); err != nil || string(text) != "hello from the far side\n" {
		t.Fatalf("README = %q, %v", text, err)
	}
	run(t, c, "commit", "-q", "--allow-empty", "-m", "second")
	run(t, c, "push", "-q", "origin", "main")
	if log := run(t, root, "-C", filepath.Join(root, "demo.git"), "log", "--format=%s", "main"); log != "second\nfirst\n" {
		t.Errorf("log at the far side: %q", log)
	}
}

func TestHandlerCarriesCloneAndPush(t *testing.T) {
	root := repo(t)
	h, err := Handler(root)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	defer srv.Close()
	cloneAndPush(t, srv.URL+"/demo.git", root)
}

func TestNginxCarriesCloneAndPush(t *testing.T) {
	root := repo(t)
	n, err := StartNginx(NginxOptions{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(n.dir, "error.log"))
			t.Logf("nginx: %s", log)
		}
		_ = n.Close()
	})
	cloneAndPush(t, "http://"+n.PlainAddr().String()+"/demo.git", root)
	if log, err := os.ReadFile(n.AccessLog()); err != nil || !strings.Contains(string(log), "git-receive-pack") {
		t.Errorf("access log %q, %v", log, err)
	}
	dir := n.dir
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("left behind: %v", err)
	}
}
