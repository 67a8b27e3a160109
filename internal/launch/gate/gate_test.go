package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firma/internal/fault"
	"firma/internal/localexec"
	"firma/internal/localexec/line"
)

// server answers the n-th connection with what reply returns for it, and keeps
// what it was asked.
type server struct {
	at    line.Address
	mu    sync.Mutex
	asked []localexec.Request
}

func newServer(t *testing.T, reply func(n int, r localexec.Request) string) *server {
	t.Helper()
	s := &server{at: line.Address{Network: "unix", Addr: filepath.Join(t.TempDir(), "gate.sock")}}
	ln, err := net.Listen("unix", s.at.Addr)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.answer(c, reply)
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return s
}

func (s *server) answer(c net.Conn, reply func(int, localexec.Request) string) {
	defer c.Close()
	in, err := line.Read(c, localexec.MaxRequest)
	if err != nil {
		return
	}
	r, err := localexec.ParseRequest(in)
	if err != nil {
		fmt.Fprintf(c, `{"decision":"deny","reason":%q}`+"\n", err.Error())
		return
	}
	s.mu.Lock()
	s.asked = append(s.asked, r)
	n := len(s.asked)
	s.mu.Unlock()
	_, _ = io.WriteString(c, reply(n, r))
}

func always(text string) func(int, localexec.Request) string {
	return func(int, localexec.Request) string { return text }
}

func (s *server) gate() *Gate {
	return &Gate{Endpoint: s.at, Timeout: time.Minute, Mode: localexec.SyncWait, MaxWait: time.Minute}
}

func command() localexec.Request {
	return localexec.Request{Executable: "/usr/bin/git", Args: []string{"push"}, SandboxID: "sbx_1", SessionID: "s-1", AgentID: "a-1", Profile: "generic"}
}

func TestAllow(t *testing.T) {
	s := newServer(t, always(`{"decision":"allow"}`+"\n"))
	r := command()
	r.BudgetStateRef, r.InvokedAs = "ledger:7", "git-remote"
	if err := s.gate().Ask(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	r.Action, r.Mode = "local.exec", localexec.SyncWait
	r.Fingerprint = localexec.FingerprintOf(&r)
	if diff := cmp.Diff([]localexec.Request{r}, s.asked); diff != "" {
		t.Errorf("asked:\n%s", diff)
	}
}

func TestAllowForThisRequest(t *testing.T) {
	s := newServer(t, func(_ int, r localexec.Request) string {
		return `{"decision":"allow","request_fingerprint":"` + r.Fingerprint + `"}` + "\n"
	})
	if err := s.gate().Ask(t.Context(), command()); err != nil {
		t.Error(err)
	}
}

// TestBlocked: every answer but one is a refusal, each with its own words.
func TestBlocked(t *testing.T) {
	for _, tt := range []struct{ name, answer, want string }{
		{"deny", `{"decision":"deny","reason":"not on Sunday"}` + "\n", "refused /usr/bin/git: not on Sunday;"},
		{"deny with an escape", `{"decision":"deny","reason":"a\u001b[2Jb\u202e"}` + "\n", "refused /usr/bin/git: a?[2Jb?;"},
		{"unknown", `{"decision":"sure"}` + "\n", `a decision that has no meaning: "sure"`},
		{"not JSON", "allow\n", "something that is not an answer"},
		{"two decisions", `{"decision":"deny","decision":"allow"}` + "\n", "appears twice"},
		{"another key", `{"decision":"allow","until":"noon"}` + "\n", `unknown key "until"`},
		{"a wrong type", `{"decision":true}` + "\n", "decision: it is not a string"},
		{"none", `{"reason":"?"}` + "\n", "decision is missing"},
		{"empty", "\n", "it is not a JSON object"},
		{"two lines", strings.Repeat(`{"decision":"allow"}`+"\n", 2), "more than the one line"},
		{"a line and junk", `{"decision":"allow"}` + "\nx", "more than the one line"},
		{"junk in the line", `{"decision":"allow"} x` + "\n", "something follows the JSON object"},
		{"no line feed", `{"decision":"allow"}`, "before it had answered with a whole line"},
		{"nothing", "", "before it had answered with a whole line"},
		{"too long", `{"decision":"allow","reason":"` + strings.Repeat("x", localexec.MaxResponse) + `"}` + "\n", "more than 16384 bytes"},
		{"another command's", `{"decision":"allow","request_fingerprint":"` + strings.Repeat("00", 32) + `"}` + "\n", "answered for another command"},
		{"pending", `{"decision":"pending_hitl","approval_token":"apr_1","retry_after_ms":1}` + "\n", "this run does not wait"},
	} {
		s := newServer(t, always(tt.answer))
		err := s.gate().Ask(t.Context(), command())
		if fault.NameOf(err) != Name || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if len(s.asked) != 1 {
			t.Errorf("%s: asked %d times", tt.name, len(s.asked))
		}
	}
}

func TestSilence(t *testing.T) {
	release := make(chan struct{})
	s := newServer(t, func(int, localexec.Request) string { <-release; return `{"decision":"allow"}` + "\n" })
	g := s.gate()
	g.Timeout = 50 * time.Millisecond
	err := g.Ask(t.Context(), command())
	close(release)
	if fault.NameOf(err) != Name || !strings.Contains(err.Error(), "did not answer within 50ms") {
		t.Error(err)
	}
}

func TestUnreachable(t *testing.T) {
	g := &Gate{Endpoint: line.Address{Network: "unix", Addr: filepath.Join(t.TempDir(), "none.sock")}, Timeout: time.Minute, Mode: localexec.SyncWait}
	if err := g.Ask(t.Context(), command()); fault.NameOf(err) != Name || !strings.Contains(err.Error(), "can't be reached: dial unix") {
		t.Error(err)
	}
}

func TestUntellable(t *testing.T) {
	s := newServer(t, always(`{"decision":"allow"}`+"\n"))
	r := command()
	r.Args = []string{"\xff"}
	if err := s.gate().Ask(t.Context(), r); fault.NameOf(err) != Name || !strings.Contains(err.Error(), "can't be put to the command gate") {
		t.Error(err)
	}
	if len(s.asked) != 0 {
		t.Error("it was asked")
	}
}

func TestKnownExecutables(t *testing.T) {
	s := newServer(t, always(`{"decision":"allow"}`+"\n"))
	for _, tt := range []struct {
		known []string
		ok    bool
	}{
		{[]string{"/usr/bin/git"}, true}, {[]string{"/bin/sh", "/usr/bin/git"}, true},
		{nil, false}, {[]string{"git"}, false}, {[]string{"/opt/bin/git"}, false}, {[]string{"/usr/bin"}, false}, {[]string{"/usr/bin/gi"}, false},
	} {
		g := s.gate()
		g.EnforceKnown, g.Known = true, tt.known
		asked := len(s.asked)
		err := g.Ask(t.Context(), command())
		if (err == nil) != tt.ok || len(s.asked)-asked != map[bool]int{true: 1}[tt.ok] {
			t.Errorf("%q: %v", tt.known, err)
		}
		if err != nil && (fault.NameOf(err) != Name || !strings.Contains(err.Error(), "not one of the allowed executables")) {
			t.Errorf("%q: %v", tt.known, err)
		}
	}
}

// clockwork is a gate's time, which passes only in sleep.
type clockwork struct {
	at    time.Time
	slept []time.Duration
}

func (c *clockwork) in(g *Gate) {
	g.Mode = localexec.AsyncToken
	g.now = func() time.Time { return c.at }
	g.sleep = func(_ context.Context, d time.Duration) error {
		c.at, c.slept = c.at.Add(d), append(c.slept, d)
		return nil
	}
}

const pending = `{"decision":"pending_hitl","approval_token":"apr_1","retry_after_ms":300}` + "\n"

func TestApproved(t *testing.T) {
	s := newServer(t, func(n int, r localexec.Request) string {
		if n < 4 {
			return pending
		}
		return `{"decision":"allow"}` + "\n"
	})
	g, c := s.gate(), clockwork{at: time.Unix(0, 0)}
	c.in(g)
	var told []string
	g.Waiting = func(token string) { told = append(told, token) }
	if err := g.Ask(t.Context(), command()); err != nil {
		t.Fatal(err)
	}
	var tokens, prints []string
	for _, r := range s.asked {
		tokens, prints = append(tokens, r.ApprovalToken), append(prints, r.Fingerprint)
	}
	if want := []string{"", "apr_1", "apr_1", "apr_1"}; !cmp.Equal(tokens, want) {
		t.Errorf("tokens %q", tokens)
	}
	if prints[0] == "" || prints[0] != prints[3] {
		t.Errorf("fingerprints %q", prints)
	}
	if want := []time.Duration{3e8, 3e8, 3e8}; !cmp.Equal(c.slept, want) || !cmp.Equal(told, []string{"apr_1"}) {
		t.Errorf("slept %v, told %q", c.slept, told)
	}
}

func TestWaitEnds(t *testing.T) {
	answers := func(texts ...string) func(int, localexec.Request) string {
		return func(n int, _ localexec.Request) string { return texts[min(n, len(texts))-1] + "\n" }
	}
	wait := func(ms string) string {
		return `{"decision":"pending_hitl","approval_token":"apr_1","retry_after_ms":` + ms + `}`
	}
	for _, tt := range []struct {
		name  string
		reply func(int, localexec.Request) string
		want  string
		asked int
	}{
		{"refused by the person", answers(wait("1000"), `{"decision":"deny","reason":"no"}`), "refused /usr/bin/git: no", 2},
		{"nobody", answers(wait("9000")), "nobody approved /usr/bin/git within 1m0s", 8},
		{"nobody, long pauses", answers(wait("4000000000")), "nobody approved", 3},
		{"nobody, default pauses", answers(wait("null")), "nobody approved", 121},
		{"no token", answers(`{"decision":"pending_hitl"}`), "gave no token to ask again with", 1},
		{"another token", answers(wait("1"), `{"decision":"pending_hitl","approval_token":"apr_2"}`), "changed its approval token", 2},
		{"no token later", answers(wait("1000"), `{"decision":"pending_hitl","retry_after_ms":1000}`, `{"decision":"deny"}`), "refused /usr/bin/git;", 3},
		{"a broken answer", answers(wait("1"), "?"), "not an answer", 2},
	} {
		s := newServer(t, tt.reply)
		g, c := s.gate(), clockwork{at: time.Unix(0, 0)}
		c.in(g)
		err := g.Ask(t.Context(), command())
		if fault.NameOf(err) != Name || !strings.Contains(err.Error(), tt.want) || len(s.asked) != tt.asked {
			t.Errorf("%s: %v after %d questions, want %d", tt.name, err, len(s.asked), tt.asked)
		}
	}
}

// TestInterrupted: the end of the run ends the wait, with the run's reason.
func TestInterrupted(t *testing.T) {
	why := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	s := newServer(t, always(`{"decision":"pending_hitl","approval_token":"apr_1","retry_after_ms":30000}`+"\n"))
	g := s.gate()
	g.Mode, g.MaxWait = localexec.AsyncToken, time.Hour
	g.Waiting = func(string) { cancel(why) }
	if err := g.Ask(ctx, command()); !errors.Is(err, why) {
		t.Error(err)
	}
}

func TestRequired(t *testing.T) {
	for value, want := range map[string]bool{"1": true, "true": true, "TRUE": true, "Yes": true, "on": true, "": false, "0": false, "false": false, "no": false, "off": false, "OFF": false} {
		if got, err := Required(value); got != want || err != nil {
			t.Errorf("%q: %v, %v", value, got, err)
		}
	}
	for _, value := range []string{"ture", "2", " true", "enabled"} {
		if got, err := Required(value); !got || fault.NameOf(err) != Name {
			t.Errorf("%q: %v, %v", value, got, err)
		}
	}
}
