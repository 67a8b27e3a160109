package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"

	"firma/internal/sandbox/stub"
)

// TestMain lets the test binary act as firma: by name, as scripts call it and as
// firma run starts its own processes, and as the stub inside a sandbox, where it
// has no name.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == stub.Arg {
		os.Exit(stub.Main(os.Args[2:]))
	}
	testscript.Main(m, map[string]func(){"firma": func() { os.Exit(firma(os.Args[1:])) }})
}

// TestScripts runs the terminal sessions in testdata/script. "status N CMD…" is
// exec with the exit status in place of success.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setUp,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":  status,
			"columns": columns,
			"chmod":   chmod,
		},
	})
}

// setUp gives a script a home, a state directory, a web server at $ORIGIN and
// nothing of the caller's.
func setUp(e *testscript.Env) error {
	home, project := filepath.Join(e.WorkDir, "home"), filepath.Join(e.WorkDir, "home", "project")
	if err := os.MkdirAll(project, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(e.WorkDir, 0o755); err != nil {
		return err
	}
	origin := httptest.NewServer(http.HandlerFunc(answer))
	e.Defer(origin.Close)
	e.Setenv("ORIGIN", origin.Listener.Addr().String())
	root, err := filepath.Abs("../..")
	e.Setenv("HOME", home)
	e.Setenv("USER", "tester")
	e.Setenv("FIRMA_STATE_DIR", filepath.Join(e.WorkDir, "state"))
	e.Setenv("REPO", root)
	e.Cd = project
	return err
}

// answer is the web server of scripts: /slow never answers.
func answer(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/slow" {
		<-r.Context().Done()
		return
	}
	fmt.Fprintln(w, "origin says hello")
}

// status runs a command that must end with the given status: status 125 firma run
func status(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: status N CMD [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%q: %v", args[1:], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%q ended with status %d, want %d\nstdout: %s\nstderr: %s", args[1:], got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

// columns fails when a line of the last command's output is longer: columns 80
func columns(ts *testscript.TestScript, _ bool, args []string) {
	limit, err := strconv.Atoi(args[0])
	ts.Check(err)
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > limit {
			ts.Fatalf("%d columns: %s", n, line)
		}
	}
}

func chmod(ts *testscript.TestScript, _ bool, args []string) {
	mode, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	ts.Check(os.Chmod(ts.MkAbs(args[1]), os.FileMode(mode)))
}
