package localexec

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firma/internal/audit"
	"firma/internal/fault"
	contract "firma/internal/localexec"
	"firma/internal/localexec/line"
)

// record is an audit log that keeps what it is given, or fails.
type record struct {
	mu     sync.Mutex
	events []audit.Event
	fail   error
}

func (r *record) Append(_ context.Context, e *audit.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail == nil {
		r.events = append(r.events, *e)
	}
	return r.fail
}

func (r *record) breaks() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = errors.New("no space left")
}

// told is the log as short lines: outcome, reason, resource, who changed what.
func (r *record) told(t *testing.T) []string {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, e := range r.events {
		var info map[string]string
		if err := json.Unmarshal(e.Info, &info); err != nil {
			t.Fatal(err)
		}
		if e.Kind != audit.KindLaunch || e.Action != "system.execute" || info["gate"] != "local-exec" {
			t.Errorf("event %+v, info %v", e, info)
		}
		out = append(out, strings.TrimSpace(strings.Join([]string{e.Decision.String(), e.Resource, e.DenyReason, info["change"]}, " | ")))
	}
	return out
}

// yard is a server for one run, with its log and its clock.
type yard struct {
	*Server
	t    *testing.T
	log  *record
	mu   sync.Mutex
	time time.Time
	end  func()
}

func open(t *testing.T, change func(*Config)) *yard {
	t.Helper()
	y := &yard{t: t, log: &record{}, time: time.Unix(1_000_000, 0)}
	dir := filepath.Join(t.TempDir(), "gate")
	cfg := Config{
		Socket: filepath.Join(dir, "ask.sock"), Management: filepath.Join(dir, "approve.sock"),
		SandboxID: "sbx_1", SessionID: "s-1", AgentID: "a-1", DefaultAction: contract.Pending,
		Now: y.now, Audit: y.log, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if y.Server, err = Listen(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- y.Serve(ctx) }()
	y.end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(y.end)
	return y
}

func (y *yard) now() time.Time {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.time
}

func (y *yard) wait(d time.Duration) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.time = y.time.Add(d)
}

func (y *yard) raw(socket, out string) string {
	y.t.Helper()
	in, err := line.Exchange(y.t.Context(), line.Address{Network: "unix", Addr: socket}, []byte(out), contract.MaxResponse, time.Minute)
	if err != nil {
		y.t.Fatalf("%.200q: %v", out, err)
	}
	return string(in)
}

func (y *yard) ask(r contract.Request) contract.Response {
	y.t.Helper()
	out, err := r.Line()
	if err != nil {
		y.t.Fatal(err)
	}
	a, err := contract.ParseResponse([]byte(y.raw(y.cfg.Socket, string(out))))
	if err != nil {
		y.t.Fatal(err)
	}
	if a.Fingerprint != "" && a.Fingerprint != contract.FingerprintOf(&r) {
		y.t.Errorf("answered for %s", a.Fingerprint)
	}
	return a
}

func (y *yard) manage(action, id string) contract.Result {
	y.t.Helper()
	m := contract.Manage{Action: action, TokenID: id}
	out, err := m.Line()
	if err != nil {
		y.t.Fatal(err)
	}
	a, err := contract.ParseManaged([]byte(y.raw(y.cfg.Management, string(out))))
	if err != nil {
		y.t.Fatal(err)
	}
	return a.Outcome
}

func command() contract.Request {
	return contract.Request{
		Action: contract.ActionExec, Executable: "/usr/bin/git", Args: []string{"push", "hunter2"},
		SandboxID: "sbx_1", SessionID: "s-1", AgentID: "a-1", Profile: "generic", Mode: contract.AsyncToken,
	}
}

func TestDefaultAction(t *testing.T) {
	for action, want := range map[contract.Decision]contract.Decision{"": "deny", "deny": "deny", "allow": "allow", "pending_hitl": "pending_hitl"} {
		y := open(t, func(c *Config) { c.DefaultAction = action })
		a := y.ask(command())
		if a.Decision != want || a.Reason == "" || (a.ApprovalToken != "") != (want == contract.Pending) || (a.RetryAfterMS == 500) != (want == contract.Pending) {
			t.Errorf("%q: %+v", action, a)
		}
		y.end()
		told := y.log.told(t)
		if len(told) != 1 || !strings.HasPrefix(told[0], map[contract.Decision]string{
			"deny": "DENY | /usr/bin/git | exec denied: denied by default_action", "allow": "ALLOW | /usr/bin/git", "pending_hitl": "STEP_UP | /usr/bin/git | step up required: "}[want]) {
			t.Errorf("%q: recorded %q", action, told)
		}
		if e := y.log.events[0]; e.SandboxID != "sbx_1" || e.SessionID != "s-1" || e.AgentID != "a-1" || strings.Contains(string(e.Info), "hunter2") {
			t.Errorf("%q: %+v", action, e)
		}
	}
	if _, err := Listen(Config{DefaultAction: "maybe", Socket: "/a", Management: "/b", AnyRun: true, Audit: &record{}, Log: slog.Default()}); fault.NameOf(err) != "ConfigValidation" {
		t.Errorf("an unknown action: %v", err)
	}
}

// TestApproval is the whole story of a token, with its record.
func TestApproval(t *testing.T) {
	y := open(t, nil)
	r := command()
	id := y.ask(r).ApprovalToken
	r.ApprovalToken = id
	for range 3 {
		if a := y.ask(r); a.Decision != contract.Pending || a.ApprovalToken != id {
			t.Errorf("before the approval: %+v", a)
		}
	}
	other := r
	other.Args = []string{"push", "--force"}
	if a := y.ask(other); a.Decision != contract.Deny {
		t.Errorf("another command: %+v", a)
	}
	if got := y.manage(contract.ActionApprove, id); got != contract.OK {
		t.Errorf("approve: %s", got)
	}
	if a := y.ask(other); a.Decision != contract.Deny {
		t.Errorf("another command with the approved token: %+v", a)
	}
	if a := y.ask(r); a.Decision != contract.Allow {
		t.Errorf("after the approval: %+v", a)
	}
	if a := y.ask(r); a.Decision != contract.Deny {
		t.Errorf("a second time: %+v", a)
	}
	if got := y.manage(contract.ActionApprove, id); got != contract.AlreadyConsumed {
		t.Errorf("approve again: %s", got)
	}
	fresh := command()
	if a := y.ask(fresh); a.Decision != contract.Pending || a.ApprovalToken == id {
		t.Errorf("the same command without the token: %+v", a)
	}
	y.end()
	want := []string{
		"STEP_UP | /usr/bin/git | step up required: a person has to approve it |",
		"DENY | /usr/bin/git | exec denied: the approval token belongs to another command or run |",
		"ALLOW | /usr/bin/git |  | local.exec.approve",
		"DENY | /usr/bin/git | exec denied: the approval token belongs to another command or run |",
		"ALLOW | /usr/bin/git |  |",
		"DENY | /usr/bin/git | exec denied: the approval token was used before |",
		"STEP_UP | /usr/bin/git | step up required: a person has to approve it |",
	}
	if diff := cmp.Diff(want, y.log.told(t)); diff != "" {
		t.Error(diff)
	}
}

func TestRevokedAndExpired(t *testing.T) {
	y := open(t, func(c *Config) { c.TokenTTL = time.Minute })
	r := command()
	r.ApprovalToken = y.ask(r).ApprovalToken
	if got := y.manage(contract.ActionApprove, r.ApprovalToken); got != contract.OK {
		t.Error(got)
	}
	if got := y.manage(contract.ActionRevoke, r.ApprovalToken); got != contract.OK {
		t.Error(got)
	}
	if a := y.ask(r); a.Decision != contract.Deny || !strings.Contains(a.Reason, "refused") {
		t.Errorf("revoked: %+v", a)
	}
	if got := y.manage(contract.ActionApprove, r.ApprovalToken); got != contract.AlreadyRevoked {
		t.Error(got)
	}
	r.ApprovalToken = ""
	r.ApprovalToken = y.ask(r).ApprovalToken
	y.manage(contract.ActionApprove, r.ApprovalToken)
	y.wait(time.Minute)
	if a := y.ask(r); a.Decision != contract.Deny || !strings.Contains(a.Reason, "expired") {
		t.Errorf("expired: %+v", a)
	}
	if got := y.manage(contract.ActionApprove, r.ApprovalToken); got != contract.TokenExpired {
		t.Error(got)
	}
	if got := y.manage(contract.ActionRevoke, "apr_none"); got != contract.NotFound {
		t.Error(got)
	}
}

// TestForeign: the gate of one run decides about no other.
func TestForeign(t *testing.T) {
	y := open(t, func(c *Config) { c.DefaultAction = contract.Allow })
	for name, change := range map[string]func(*contract.Request){
		"sandbox":     func(r *contract.Request) { r.SandboxID = "sbx_2" },
		"session":     func(r *contract.Request) { r.SessionID = "s-2" },
		"agent":       func(r *contract.Request) { r.AgentID = "a-2" },
		"no agent":    func(r *contract.Request) { r.AgentID = "" },
		"action":      func(r *contract.Request) { r.Action = "remote.exec" },
		"approve":     func(r *contract.Request) { r.Action = contract.ActionApprove },
		"fingerprint": func(r *contract.Request) { r.Fingerprint = strings.Repeat("00", 32) },
		"token":       func(r *contract.Request) { r.ApprovalToken = "apr_none" },
	} {
		r := command()
		change(&r)
		if a := y.ask(r); a.Decision != contract.Deny {
			t.Errorf("%s: %+v", name, a)
		}
	}
	right := command()
	right.Fingerprint = contract.FingerprintOf(&right)
	if a := y.ask(right); a.Decision != contract.Allow {
		t.Errorf("the run's own: %+v", a)
	}
	if told := y.log.told(t); len(told) != 9 {
		t.Errorf("recorded %q", told)
	}
}

func TestAnyRun(t *testing.T) {
	y := open(t, func(c *Config) { c.AnyRun, c.SandboxID, c.SessionID, c.AgentID = true, "", "", "" })
	one, two := command(), command()
	two.SandboxID, two.SessionID = "sbx_2", "s-2"
	one.ApprovalToken = y.ask(one).ApprovalToken
	two.ApprovalToken = one.ApprovalToken
	y.manage(contract.ActionApprove, one.ApprovalToken)
	if a := y.ask(two); a.Decision != contract.Deny {
		t.Errorf("another run's token: %+v", a)
	}
	if a := y.ask(one); a.Decision != contract.Allow {
		t.Errorf("its own: %+v", a)
	}
}

// TestMalformed: what is no request is denied and recorded, on the socket where
// launchers ask; a management line is no request there, and the other way round.
func TestMalformed(t *testing.T) {
	y := open(t, func(c *Config) { c.DefaultAction = contract.Allow })
	lines := []string{"\n", "{}\n", "allow\n", `{"action":"local.exec"}` + "\n", "\x16\x03\x01\x02\n",
		`{"action":"local.exec.approve","token_id":"apr_1"}` + "\n"}
	for _, l := range lines {
		a, err := contract.ParseResponse([]byte(y.raw(y.cfg.Socket, l)))
		if err != nil || a.Decision != contract.Deny || !strings.Contains(a.Reason, "malformed") {
			t.Errorf("%q: %+v, %v", l, a, err)
		}
	}
	told := y.log.told(t)
	if len(told) != len(lines) || !strings.HasPrefix(told[0], "DENY | (malformed local.exec request) | exec denied: malformed request: ") {
		t.Errorf("recorded %q", told)
	}
	r := command()
	out, _ := r.Line()
	for _, l := range []string{"\n", string(out), `{"action":"local.exec","token_id":"x"}` + "\n", `{"action":"local.exec.list","token_id":"x"}` + "\n"} {
		a, err := contract.ParseManaged([]byte(y.raw(y.cfg.Management, l)))
		if err != nil || a.Outcome != contract.UnsupportedAction {
			t.Errorf("%q: %+v, %v", l, a, err)
		}
	}
}

func TestSilentAndLongCallers(t *testing.T) {
	y := open(t, func(c *Config) { c.DefaultAction = contract.Allow })
	for _, l := range []string{"", `{"action":`} {
		c, err := net.Dial("unix", y.cfg.Socket)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, l)
		_ = c.(*net.UnixConn).CloseWrite()
		if in, _ := io.ReadAll(c); len(in) > 0 {
			t.Errorf("%q was answered %q", l, in)
		}
		c.Close()
	}
	c, err := net.Dial("unix", y.cfg.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, strings.Repeat("x", contract.MaxRequest+1))
	in, _ := io.ReadAll(c)
	if len(in) > 0 && !strings.Contains(string(in), `"deny"`) {
		t.Errorf("a long line was answered %q", in)
	}
}

// TestUnrecorded: what can't be recorded is denied, and an approval that can't be
// recorded is none.
func TestUnrecorded(t *testing.T) {
	y := open(t, nil)
	r := command()
	r.ApprovalToken = y.ask(r).ApprovalToken
	y.log.breaks()
	if got := y.manage(contract.ActionApprove, r.ApprovalToken); got == contract.OK {
		t.Error("an approval without a record")
	}
	y.log.fail = nil
	if a := y.ask(r); a.Decision != contract.Deny {
		t.Errorf("afterwards: %+v", a)
	}
	z := open(t, func(c *Config) { c.DefaultAction = contract.Allow })
	z.log.breaks()
	if a := z.ask(command()); a.Decision != contract.Deny || !strings.Contains(a.Reason, "recorded") {
		t.Errorf("an allow without a record: %+v", a)
	}
}

func TestConcurrentRedemption(t *testing.T) {
	y := open(t, nil)
	r := command()
	r.ApprovalToken = y.ask(r).ApprovalToken
	y.manage(contract.ActionApprove, r.ApprovalToken)
	got := make(chan contract.Decision)
	const n = 8
	for range n {
		go func() { got <- y.ask(r).Decision }()
	}
	allowed := 0
	for range n {
		if <-got == contract.Allow {
			allowed++
		}
	}
	if allowed != 1 {
		t.Errorf("%d of %d were allowed", allowed, n)
	}
}

func TestSocketsArePrivateAndVanish(t *testing.T) {
	y := open(t, nil)
	dir := filepath.Dir(y.cfg.Socket)
	for path, want := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, y.cfg.Socket: 0o600 | os.ModeSocket, y.cfg.Management: 0o600 | os.ModeSocket} {
		info, err := os.Stat(path)
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	y.end()
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
}

func TestRefusedPlaces(t *testing.T) {
	base := t.TempDir()
	config := func(dir string) Config {
		return Config{Socket: filepath.Join(dir, "a"), Management: filepath.Join(dir, "b"), AnyRun: true, Audit: &record{}, Log: slog.Default()}
	}
	made := func(name string, mode os.FileMode) string {
		p := filepath.Join(base, name)
		if err := errors.Join(os.Mkdir(p, 0o700), os.Chmod(p, mode)); err != nil {
			t.Fatal(err)
		}
		return p
	}
	occupied := made("occupied", 0o700)
	if err := os.WriteFile(filepath.Join(occupied, "b"), []byte("keep me"), 0o600); err != nil {
		t.Fatal(err)
	}
	linked := filepath.Join(base, "linked")
	if err := os.Symlink(made("target", 0o700), linked); err != nil {
		t.Fatal(err)
	}
	used := open(t, nil)
	for name, c := range map[string]Config{
		"group may enter":  config(made("group", 0o710)),
		"others may enter": config(made("others", 0o701)),
		"a symbolic link":  config(linked),
		"a file in place":  config(occupied),
		"a long path":      config(filepath.Join(base, strings.Repeat("x", line.MaxPath))),
		"in use":           {Socket: used.cfg.Socket, Management: used.cfg.Management, AnyRun: true, Audit: &record{}, Log: slog.Default()},
		"one socket":       {Socket: base + "/s/a", Management: base + "/s/a", AnyRun: true, Audit: &record{}, Log: slog.Default()},
	} {
		s, err := Listen(c)
		if err == nil {
			s.Close()
			t.Errorf("%s: it listens", name)
		} else if n := fault.NameOf(err); n != "LocalExecUnavailable" && n != "ConfigValidation" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(occupied, "a")); !os.IsNotExist(err) {
		t.Error("the first socket was left behind")
	}
	if b, _ := os.ReadFile(filepath.Join(occupied, "b")); string(b) != "keep me" {
		t.Error("a file was overwritten")
	}
	if a := used.ask(command()); a.Decision != contract.Pending {
		t.Errorf("the gate that was in use: %+v", a)
	}
}

// TestStaleSocket: what a killed Sidecar left is replaced.
func TestStaleSocket(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gate")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: dir + "/ask.sock", Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	y := open(t, func(c *Config) { c.Socket, c.Management = dir+"/ask.sock", dir+"/approve.sock" })
	if a := y.ask(command()); a.Decision != contract.Pending {
		t.Errorf("%+v", a)
	}
	y.end()
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("a directory that it did not make: %v", err)
	}
}
