package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"

	"firma/internal/sandbox/stub"
	"firma/internal/testkit/freeport"
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
	documented := rows(cliPage(t)["Errors"])
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setUp,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":  func(ts *testscript.TestScript, neg bool, args []string) { status(ts, neg, args, documented) },
			"columns": columns,
			"chmod":   chmod,
			"until":   until,
			"fill":    fill,
		},
	})
}

// setUp gives a script a home, a state directory, a web server at $ORIGIN, three
// addresses that nobody listens on, and nothing of the caller's.
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
	for _, name := range []string{"FREE1", "FREE2", "FREE3"} {
		addr, err := freeport.Address()
		if err != nil {
			return err
		}
		e.Setenv(name, addr)
	}
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
// An error that it reports must be documented, with this status and a fix.
func status(ts *testscript.TestScript, neg bool, args []string, documented map[string][]string) {
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
	said := ts.ReadFile("stderr")
	for _, m := range namedError.FindAllStringSubmatch(said, -1) {
		if row := documented[m[1]]; row == nil || !slices.Contains(strings.Split(row[0], ", "), strconv.Itoa(got)) {
			ts.Fatalf("%s with status %d is not in docs/cli.md: %s", m[1], got, row)
		}
		if !strings.Contains(said, "\nfirma: fix: ") {
			ts.Fatalf("%s names no fix:\n%s", m[1], said)
		}
	}
}

// namedError is the name of an error that firma prints.
var namedError = regexp.MustCompile(`(?m)^firma: error: ([A-Z]\w+): `)

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

// until runs a command again and again until what it prints matches, for half a
// minute: until REGEXP CMD [ARG...]
func until(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile(args[0])
	end := time.Now().Add(30 * time.Second)
	for {
		_ = ts.Exec(args[1], args[2:]...)
		out := ts.ReadFile("stdout") + ts.ReadFile("stderr")
		if want.MatchString(out) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%q does not print %s:\n%s", args[1:], want, out)
		}
	}
}

// fill replaces $NAME in files by the script's variables: fill FILE...
func fill(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		text := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}
