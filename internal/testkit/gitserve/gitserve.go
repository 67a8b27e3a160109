// Package gitserve serves git repositories over smart HTTP for tests: with git's
// own http-backend as a plain handler, or behind a real nginx and fcgiwrap as an
// ordinary user's processes on a random loopback port.
package gitserve

import (
	"fmt"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Handler serves the bare repositories under root, clone and push, to anyone who
// can reach it. It needs git.
func Handler(root string) (http.Handler, error) {
	backend, err := backend()
	if err != nil {
		return nil, err
	}
	return &cgi.Handler{
		Path: backend,
		Dir:  root,
		Env:  environ(root),
		// The backend asks for no more of the environment; git config of the
		// machine must not change what a test sees.
		InheritEnv: []string{},
	}, nil
}

func environ(root string) []string {
	return []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1",
		"HOME=" + root, "REMOTE_USER=tester", "PATH=" + os.Getenv("PATH")}
}

func backend() (string, error) {
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return "", fmt.Errorf("gitserve: git is missing (apt-get install git): %w", err)
	}
	path := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("gitserve: %w (apt-get install git)", err)
	}
	return path, nil
}

// NewRepo makes the bare repository root/NAME.git with one commit on "main" that
// holds README with the given text. Pushes to it are accepted.
func NewRepo(root, name, text string) error {
	bare := filepath.Join(root, name+".git")
	work, err := os.MkdirTemp("", "gitserve")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := os.WriteFile(filepath.Join(work, "README"), []byte(text), 0o644); err != nil {
		return err
	}
	steps := [][]string{
		{"init", "-q", "-b", "main", work},
		{"-C", work, "add", "README"},
		{"-C", work, "commit", "-q", "-m", "first"},
		{"clone", "-q", "--bare", work, bare},
		{"-C", bare, "config", "http.receivepack", "true"},
	}
	for _, args := range steps {
		if err := git(root, args...); err != nil {
			return err
		}
	}
	return nil
}

func git(home string, args ...string) error {
	cmd := exec.Command("git", args...)
	cmd.Env = append(environ(home), "GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@git.test",
		"GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@git.test")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}
