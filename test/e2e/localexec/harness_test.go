package localexec

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	contract "firma/internal/localexec"
	"firma/internal/localexec/line"
	"firma/internal/testkit/account"
	"firma/internal/testkit/world"
)

// deadline is how long anything may take that a test waits for.
const deadline = 40 * time.Second

// stage is one account's world.
type stage struct {
	*world.World
	t *testing.T
}

func everyone(t *testing.T, story func(t *testing.T, s *stage)) {
	t.Helper()
	all, err := account.All()
	must(t, err)
	for _, a := range all {
		t.Run(a.Name, func(t *testing.T) {
			s := &stage{World: world.New(t, a), t: t}
			s.write("firma.toml", "")
			story(t, s)
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// dir makes a directory of the account below the world, mode 0700.
func (s *stage) dir(name string) string {
	s.t.Helper()
	p := filepath.Join(s.Base, name)
	must(s.t, errors.Join(os.MkdirAll(p, 0o700), s.Account.Own(p)))
	return p
}

// write makes a file of the account, outside of the project unless the name says so.
func (s *stage) write(name, text string) string {
	s.t.Helper()
	p := filepath.Join(s.Base, name)
	next := p + ".next" // a run that starts just now reads the old one or the new one
	must(s.t, errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(next, []byte(text), 0o755), os.Chmod(next, 0o755), s.Account.Own(next), os.Rename(next, p)))
	return p
}

// project is a path in the workspace.
func (s *stage) project(name string) string { return filepath.Join(s.Project, name) }

// script makes an executable in the workspace that leaves "proof" behind.
func (s *stage) script(name string) string {
	s.t.Helper()
	return s.write("home/project/"+name, "#!/bin/sh\necho \"$0 $*\" > proof\n")
}

// executed reports whether the command ran, by what it would have left, and takes
// that away.
func (s *stage) executed() bool {
	return os.Remove(s.project("proof")) == nil
}

// play is one firma run.
type play struct {
	config   string   // text of the configuration
	profile  string   // "": codex, whose workspace is writable
	command  []string // nil: touch proof
	external string   // a Sidecar that runs; "": one of the run's own
	flags    []string
	env      []string
}

// result is how it ended.
type result struct {
	world.Outcome
	events []world.Event
}

func (s *stage) args(p play) []string {
	s.t.Helper()
	profile := p.profile
	if profile == "" {
		profile = "codex"
	}
	command := p.command
	if command == nil {
		command = []string{"touch", "proof"}
	}
	args := []string{s.Firma, "run", "--quiet", "--profile", profile, "--config", s.write("firma.toml", p.config)}
	if p.external != "" {
		args = append(args, "--sidecar", p.external)
	} else {
		args = append(args, "--authority", "local")
	}
	return append(append(append(args, p.flags...), "--"), command...)
}

func (s *stage) run(p play) result {
	s.t.Helper()
	mark := s.Mark(s.t)
	o := s.Run(s.t, world.Command{Args: s.args(p), Env: p.env})
	return result{o, s.Since(s.t, mark)}
}

// launches are the run's launch events as short lines.
func (r *result) launches() []string {
	var out []string
	for _, e := range r.events {
		if e.Kind == "launch" {
			out = append(out, strings.Join([]string{e.Outcome, e.Reason, e.Resource, e.DenyReason}, " | "))
		}
	}
	return out
}

// wantRefused fails unless the run ended with firma's own status, the fault
// Governance and the words, and nothing was executed.
func (s *stage) wantRefused(t *testing.T, r result, words string) {
	t.Helper()
	if r.Code != 125 || !strings.Contains(r.Stderr, "firma: error: Governance: ") || !strings.Contains(r.Stderr, words) {
		t.Errorf("status %d, want 125, Governance and %q\n%s", r.Code, words, r.Stderr)
	}
	if s.executed() {
		t.Error("the command was executed")
	}
	for _, l := range r.launches() {
		if strings.HasPrefix(l, "ALLOW") {
			t.Errorf("recorded: %s", l)
		}
	}
}

func (s *stage) wantExecuted(t *testing.T, r result) {
	t.Helper()
	if r.Code != 0 || !s.executed() {
		t.Errorf("status %d, or the command was not executed\n%s", r.Code, r.Stderr)
	}
}

// waiting is a run under way.
type waiting struct {
	cmd    *exec.Cmd
	t      *testing.T
	lines  *bufio.Reader
	stderr bytes.Buffer
}

func (s *stage) begin(p play) *waiting {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	w := &waiting{t: s.t, cmd: s.Prepare(ctx, world.Command{Args: s.args(p), Env: p.env})}
	pipe, err := w.cmd.StderrPipe()
	must(s.t, err)
	w.lines = bufio.NewReader(io.TeeReader(pipe, &w.stderr))
	must(s.t, w.cmd.Start())
	s.t.Cleanup(func() { cancel(); _ = w.cmd.Wait() })
	return w
}

// token waits until the run says what it waits for, and returns token and socket.
func (w *waiting) token() (token, socket string) {
	w.t.Helper()
	for {
		text, err := w.lines.ReadString('\n')
		if _, rest, found := strings.Cut(text, "firma token approve "); found {
			words := strings.Fields(rest)
			if len(words) > 2 && words[1] == "--socket" {
				return words[0], words[2]
			}
			return words[0], ""
		}
		if err != nil {
			w.t.Fatalf("it waits for nothing: %v\n%s", err, w.stderr.String())
		}
	}
}

// end waits for the end and returns status and stderr.
func (w *waiting) end() (int, string) {
	w.t.Helper()
	_, _ = io.Copy(io.Discard, w.lines)
	_ = w.cmd.Wait()
	return w.cmd.ProcessState.ExitCode(), w.stderr.String()
}

func (w *waiting) signal(sig syscall.Signal) {
	w.t.Helper()
	must(w.t, w.cmd.Process.Signal(sig))
}

// gate is a command gate of the test's own. serve gets each connection, with the
// request line it read; it must not keep the connection.
type gate struct {
	endpoint string
	mu       sync.Mutex
	asked    []contract.Request
}

func (s *stage) gate(network string, serve func(c net.Conn, r contract.Request)) *gate {
	s.t.Helper()
	at := filepath.Join(s.Base, "gate.sock")
	if network == "tcp" {
		at = "127.0.0.1:0"
	}
	_ = os.Remove(at)
	ln, err := net.Listen(network, at)
	must(s.t, err)
	if network == "unix" {
		must(s.t, os.Chmod(at, 0o777)) // the test is root, the launcher may not be
	}
	g := &gate{endpoint: network + ":" + ln.Addr().String()}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(deadline))
				g.handle(c, serve)
			})
		}
	})
	s.t.Cleanup(func() { ln.Close(); conns.Wait() })
	return g
}

func (g *gate) handle(c net.Conn, serve func(net.Conn, contract.Request)) {
	in, err := line.Read(c, contract.MaxRequest)
	if err != nil {
		return
	}
	r, err := contract.ParseRequest(in)
	if err != nil {
		return
	}
	g.mu.Lock()
	g.asked = append(g.asked, r)
	g.mu.Unlock()
	serve(c, r)
}

func (g *gate) requests() []contract.Request {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]contract.Request{}, g.asked...)
}

// config asks this gate, with more lines of its table.
func (g *gate) config(more ...string) string {
	return "[run.profiles.codex.sidecar_local_exec]\nendpoint = \"" + g.endpoint + "\"\n" + strings.Join(more, "\n") + "\n"
}

// says answers every request with text.
func says(text string) func(net.Conn, contract.Request) {
	return func(c net.Conn, _ contract.Request) { _, _ = io.WriteString(c, text) }
}
