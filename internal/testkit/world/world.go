// Package world is the surroundings of one account in a test that runs the real
// firma: a home, a project, state and runtime directories of its own, an
// environment, and the binary under test. Nothing of the machine's own users is
// read or written.
package world

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"firma/internal/testkit/account"
)

// World is one account's surroundings. Its directories vanish with the test.
type World struct {
	Account account.Account
	Base    string // holds all of the others
	Home    string
	Project string // the working directory of runs: Home/project
	State   string // XDG_STATE_HOME: audit logs and caches
	Runtime string // XDG_RUNTIME_DIR
	Tmp     string // TMPDIR
	Firma   string // a copy of the binary that only this world uses
	Env     []string
}

// New makes the surroundings and copies the binary. It fails the test when there
// is none.
func New(t testing.TB, a account.Account) *World {
	t.Helper()
	base, err := os.MkdirTemp("", "firma-world-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	w := &World{Account: a, Base: base, Home: filepath.Join(base, "home"), State: filepath.Join(base, "state"),
		Runtime: filepath.Join(base, "run"), Tmp: filepath.Join(base, "tmp"), Firma: filepath.Join(base, "bin", "firma")}
	w.Project = filepath.Join(w.Home, "project")
	for _, d := range []string{base, w.Home, w.Project, w.State, w.Runtime, w.Tmp, filepath.Join(base, "bin")} {
		mkdir(t, a, d)
	}
	CopyProgram(t, Binary(t), w.Firma)
	w.Env = []string{"HOME=" + w.Home, "USER=" + a.Name, "LOGNAME=" + a.Name, "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
		"LANG=C.UTF-8", "TERM=xterm", "SHELL=/bin/sh", "TMPDIR=" + w.Tmp,
		"XDG_STATE_HOME=" + w.State, "XDG_RUNTIME_DIR=" + w.Runtime,
		"XDG_CONFIG_HOME=" + filepath.Join(w.Home, ".config"), "XDG_CACHE_HOME=" + filepath.Join(w.Home, ".cache")}
	return w
}

func mkdir(t testing.TB, a account.Account, dir string) {
	t.Helper()
	mode := os.FileMode(0o755)
	if filepath.Base(dir) == "run" || filepath.Base(dir) == "state" {
		mode = 0o700
	}
	if err := errors.Join(os.MkdirAll(dir, mode), os.Chmod(dir, mode), a.Own(dir)); err != nil {
		t.Fatal(err)
	}
}

// Binary is the program under test: $FIRMA_BIN, or bin/firma of the nearest
// directory upwards that holds go.mod.
func Binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("FIRMA_BIN")
	if path == "" {
		path = filepath.Join(moduleRoot(t), "bin", "firma")
	}
	if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() {
		t.Fatalf("there is no program to test at %s: run `make build`, or set FIRMA_BIN to an absolute path (%v)", path, err)
	}
	return path
}

func moduleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = up
	}
}

// CopyProgram copies an executable, mode 0755.
func CopyProgram(t testing.TB, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close(), os.Chmod(to, 0o755)); err != nil {
		t.Fatal(err)
	}
}

// Command is a program to run as the account, in the project.
type Command struct {
	Args  []string      // Args[0] is an absolute path
	Env   []string      // on top of the world's; later wins
	Stdin *os.File      // nil is an empty input
	Files []*os.File    // inherited as 3, 4, …
	Limit time.Duration // 0 is a minute; then it is killed and the test fails
}

// Outcome is how a command ended.
type Outcome struct {
	Code           int // exit status; -1 ended by a signal
	Stdout, Stderr string
	Took           time.Duration
}

// Run runs a command to its end.
func (w *World) Run(t testing.TB, c Command) Outcome {
	t.Helper()
	if c.Limit == 0 {
		c.Limit = time.Minute
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Limit)
	defer cancel()
	cmd := w.Prepare(ctx, c)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	begin := time.Now()
	err := cmd.Run()
	o := Outcome{cmd.ProcessState.ExitCode(), out.String(), errs.String(), time.Since(begin)}
	var exit *exec.ExitError
	if ctx.Err() != nil {
		t.Fatalf("%q did not end within %v\nstdout: %s\nstderr: %s", c.Args, c.Limit, o.Stdout, o.Stderr)
	}
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%q: %v", c.Args, err)
	}
	return o
}

// Prepare returns a command that has not been started, for tests that talk to it.
func (w *World) Prepare(ctx context.Context, c Command) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Dir = w.Project
	cmd.Env = append(append([]string{}, w.Env...), c.Env...)
	cmd.Stdin = nil
	if c.Stdin != nil {
		cmd.Stdin = c.Stdin
	}
	cmd.ExtraFiles = c.Files
	cmd.WaitDelay = 5 * time.Second
	w.Account.Apply(cmd)
	return cmd
}
