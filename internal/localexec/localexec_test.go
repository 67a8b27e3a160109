package localexec_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firma/internal/localexec"
)

func command() localexec.Request {
	return localexec.Request{
		Action: localexec.ActionExec, Executable: "/usr/bin/git", Args: []string{"push", "--force"},
		SandboxID: "sbx_1", SessionID: "s-1", AgentID: "agt_1", Profile: "generic", Mode: localexec.SyncWait,
	}
}

const requestLine = `{"action":"local.exec","executable":"/usr/bin/git","args":["push","--force"],"sandbox_id":"sbx_1","session_id":"s-1","agent_id":"agt_1","profile":"generic","hitl_mode":"sync_wait"}`

func TestRequestLine(t *testing.T) {
	full := command()
	full.InvokedAs, full.BudgetStateRef, full.ApprovalToken = "git-x", "ledger://a b", "apr_1"
	full.Fingerprint = localexec.FingerprintOf(&full)
	full.Args = []string{"", "<&>", "line\nfeed", "ü", `"\`}
	bare := command()
	bare.Args, bare.AgentID = nil, ""
	for _, r := range []localexec.Request{command(), full, bare} {
		line, err := r.Line()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(line), "\n") != 1 || line[len(line)-1] != '\n' {
			t.Errorf("not one line: %q", line)
		}
		got, err := localexec.ParseRequest(line[:len(line)-1])
		if r.Args == nil {
			r.Args = []string{}
		}
		if diff := cmp.Diff(r, got); diff != "" || err != nil {
			t.Errorf("%v\n%s", err, diff)
		}
	}
	r := command()
	if line, _ := r.Line(); string(line) != requestLine+"\n" {
		t.Errorf("the contract's form changed:\n%s", line)
	}
}

// change is requestLine with one part replaced.
func change(t *testing.T, old, new string) string {
	t.Helper()
	if !strings.Contains(requestLine, old) {
		t.Fatalf("%q is no part of the line", old)
	}
	return strings.Replace(requestLine, old, new, 1)
}

func TestRequestRefused(t *testing.T) {
	for name, line := range map[string]string{
		"empty":                  "",
		"null":                   "null",
		"a list":                 "[" + requestLine + "]",
		"two objects":            requestLine + requestLine,
		"junk after":             requestLine + " x",
		"cut off":                requestLine[:len(requestLine)-1],
		"two lines":              change(t, `,"args"`, ",\n\"args\""),
		"not UTF-8":              change(t, "push", "pu\xffsh"),
		"half a surrogate":       change(t, "push", `pu\ud800sh`),
		"a NUL":                  change(t, "push", `pu\u0000sh`),
		"unknown key":            change(t, `"profile"`, `"limit":1,"profile"`),
		"other case":             change(t, `"args"`, `"Args"`),
		"twice":                  change(t, `"args"`, `"args":[],"args"`),
		"twice, escaped":         change(t, `"args"`, `"\u0061rgs":[],"args"`),
		"no executable":          change(t, `"executable":"/usr/bin/git",`, ""),
		"no args":                change(t, `"args":["push","--force"],`, ""),
		"no sandbox":             change(t, `"sandbox_id":"sbx_1",`, ""),
		"no session":             change(t, `"session_id":"s-1",`, ""),
		"no profile":             change(t, `"profile":"generic",`, ""),
		"no mode":                change(t, `,"hitl_mode":"sync_wait"`, ""),
		"args null":              change(t, `["push","--force"]`, "null"),
		"args a string":          change(t, `["push","--force"]`, `"push"`),
		"an argument null":       change(t, `"push"`, "null"),
		"an argument a number":   change(t, `"push"`, "7"),
		"executable null":        change(t, `"/usr/bin/git"`, "null"),
		"executable a number":    change(t, `"/usr/bin/git"`, "1"),
		"executable relative":    change(t, `"/usr/bin/git"`, `"git"`),
		"executable with dots":   change(t, `"/usr/bin/git"`, `"/usr/bin/../bin/git"`),
		"executable with //":     change(t, `"/usr/bin/git"`, `"/usr//bin/git"`),
		"executable the root":    change(t, `"/usr/bin/git"`, `"/"`),
		"session empty":          change(t, `"s-1"`, `""`),
		"session with a space":   change(t, `"s-1"`, `"s 1"`),
		"session long":           change(t, `"s-1"`, `"`+strings.Repeat("s", 257)+`"`),
		"sandbox with an escape": change(t, `"sbx_1"`, `"\u001b[2J"`),
		"mode unknown":           change(t, `"sync_wait"`, `"wait"`),
		"mode empty":             change(t, `"sync_wait"`, `""`),
		"fingerprint short":      change(t, `"profile"`, `"request_fingerprint":"ab","profile"`),
		"fingerprint upper":      change(t, `"profile"`, `"request_fingerprint":"`+strings.Repeat("A", 64)+`","profile"`),
		"budget long":            change(t, `"profile"`, `"budget_state_ref":"`+strings.Repeat("b", 1025)+`","profile"`),
		"too long":               change(t, "push", strings.Repeat("x", localexec.MaxRequest)),
	} {
		r, err := localexec.ParseRequest([]byte(line))
		var bad *localexec.FormatError
		if !errors.As(err, &bad) || !cmp.Equal(r, localexec.Request{}) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// TestUntellable: a command that JSON would change is not told at all.
func TestUntellable(t *testing.T) {
	for name, f := range map[string]func(*localexec.Request){
		"argument not UTF-8":   func(r *localexec.Request) { r.Args[0] = "\xff" },
		"argument with NUL":    func(r *localexec.Request) { r.Args[0] = "a\x00b" },
		"executable not UTF-8": func(r *localexec.Request) { r.Executable = "/bin/\xff" },
		"executable relative":  func(r *localexec.Request) { r.Executable = "git" },
		"name not UTF-8":       func(r *localexec.Request) { r.InvokedAs = "\xff" },
		"too long":             func(r *localexec.Request) { r.Args[0] = strings.Repeat("x", localexec.MaxRequest-100) },
		"too long by escapes":  func(r *localexec.Request) { r.Args[0] = strings.Repeat("\x01", localexec.MaxRequest/6) },
		"no mode":              func(r *localexec.Request) { r.Mode = "" },
		"budget not UTF-8":     func(r *localexec.Request) { r.BudgetStateRef = "\xff" },
	} {
		r := command()
		f(&r)
		if line, err := r.Line(); err == nil {
			t.Errorf("%s: told as %.80q", name, line)
		}
	}
}

// TestFingerprint holds the digest against the contract's words, spelled out.
func TestFingerprint(t *testing.T) {
	r := command()
	sum := sha256.Sum256([]byte("/usr/bin/git\x00push\x00--force\x00s-1\x00sbx_1\x00agt_1"))
	if got := localexec.FingerprintOf(&r); got != hex.EncodeToString(sum[:]) {
		t.Errorf("%s", got)
	}
	r.AgentID, r.Args = "", nil
	sum = sha256.Sum256([]byte("/usr/bin/git\x00s-1\x00sbx_1\x00"))
	if got := localexec.FingerprintOf(&r); got != hex.EncodeToString(sum[:]) {
		t.Errorf("without agent and arguments: %s", got)
	}
}

func TestResponse(t *testing.T) {
	hash := strings.Repeat("0a", 32)
	for line, want := range map[string]localexec.Response{
		`{"decision":"allow"}`:                         {Decision: localexec.Allow},
		` { "decision" : "allow" } `:                   {Decision: localexec.Allow},
		`{"decision":"\u0061llow"}`:                    {Decision: localexec.Allow},
		`{"decision":"deny","reason":"not on Sunday"}`: {Decision: localexec.Deny, Reason: "not on Sunday"},
		`{"decision":"deny","reason":null,"approval_token":null,"retry_after_ms":null}`: {Decision: localexec.Deny},
		`{"decision":"pending_hitl","approval_token":"apr_1","retry_after_ms":500}`:     {Decision: localexec.Pending, ApprovalToken: "apr_1", RetryAfterMS: 500},
		`{"decision":"allow","request_fingerprint":"` + hash + `"}`:                     {Decision: localexec.Allow, Fingerprint: hash},
	} {
		got, err := localexec.ParseResponse([]byte(line))
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", line, got, err)
		}
		again, err := got.Line()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := localexec.ParseResponse(again[:len(again)-1]); err != nil || back != want {
			t.Errorf("%s: written as %s, read as %+v, %v", line, again, back, err)
		}
	}
}

func TestResponseRefused(t *testing.T) {
	long := strings.Repeat("x", localexec.MaxResponse)
	for _, line := range []string{
		"", "allow", `"allow"`, "null", "true", "[]", `["allow"]`, "{}", `{"decision":null}`, `{"decision":true}`,
		`{"decision":1}`, `{"decision":["allow"]}`, `{"decision":{"allow":true}}`, `{"Decision":"allow"}`,
		`{"decision":"allow"}{"decision":"allow"}`, `{"decision":"allow"} x`, `{"decision":"allow",}`, `{"decision":"allow"`,
		`{"decision":"deny","decision":"allow"}`, `{"decision":"allow","decision":"deny"}`, `{"decision":"allow","granted":true}`,
		`{"decision":"allow","retry_after_ms":-1}`, `{"decision":"allow","retry_after_ms":1.5}`, `{"decision":"allow","retry_after_ms":1e3}`,
		`{"decision":"allow","retry_after_ms":"1"}`, `{"decision":"allow","retry_after_ms":99999999999}`,
		`{"decision":"allow","reason":7}`, `{"decision":"allow","reason":"` + long[:1025] + `"}`, `{"decision":"allow","reason":"` + long + `"}`,
		`{"decision":"pending_hitl","approval_token":""}x`, `{"decision":"pending_hitl","approval_token":"a b"}`, `{"decision":"pending_hitl","approval_token":1}`,
		`{"decision":"allow","request_fingerprint":"00"}`, "\xff", `{"decision":"allow","reason":"` + "\xff" + `"}`, "\ufeff" + `{"decision":"allow"}`,
		"{\"decision\":\"allow\"}\r", "{'decision':'allow'}", `{"decision":"allow"}` + "\x00", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	} {
		got, err := localexec.ParseResponse([]byte(line))
		var bad *localexec.FormatError
		if !errors.As(err, &bad) || got != (localexec.Response{}) {
			t.Errorf("%.80q: %+v, %v", line, got, err)
		}
	}
	for _, word := range []string{"", "ALLOW", "Allow", " allow", "allow ", "allowed", "ok", "yes", "permit", "pending", "maybe", "deny_all"} {
		got, err := localexec.ParseResponse([]byte(`{"decision":"` + word + `"}`))
		var unknown *localexec.UnknownDecision
		if !errors.As(err, &unknown) || unknown.Word != word || got != (localexec.Response{}) {
			t.Errorf("%q: %+v, %v", word, got, err)
		}
	}
}

func TestManagement(t *testing.T) {
	m := localexec.Manage{Action: localexec.ActionApprove, TokenID: "apr_1"}
	line, err := m.Line()
	if string(line) != `{"action":"local.exec.approve","token_id":"apr_1"}`+"\n" || err != nil {
		t.Errorf("%s, %v", line, err)
	}
	if got, err := localexec.ParseManage(line[:len(line)-1]); got != m || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "{}", `{"action":"local.exec.approve"}`, `{"action":"x","token_id":""}`, `{"action":"x","token_id":"a b"}`,
		`{"action":"x","token_id":"a","all":true}`, `{"action":null,"token_id":"a"}`, `{"token_id":"a","token_id":"b","action":"x"}`} {
		if got, err := localexec.ParseManage([]byte(bad)); err == nil || got != (localexec.Manage{}) {
			t.Errorf("%s: %+v", bad, got)
		}
	}
	if _, err := (&localexec.Manage{Action: "x", TokenID: "a\nb"}).Line(); err == nil {
		t.Error("a token id of two lines was written")
	}
	for _, r := range []localexec.Result{localexec.OK, localexec.NotFound, localexec.AlreadyConsumed, localexec.AlreadyRevoked, localexec.TokenExpired, localexec.UnsupportedAction} {
		out := localexec.Managed{Outcome: r, Reason: "why"}
		line, err := out.Line()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := localexec.ParseManaged(line[:len(line)-1]); got != out || err != nil {
			t.Errorf("%s: %+v, %v", line, got, err)
		}
	}
	for _, bad := range []string{"", "{}", `{"outcome":"OK"}`, `{"outcome":"done"}`, `{"outcome":true}`, `{"outcome":"ok","x":1}`, `{"outcome":"not_found","outcome":"ok"}`} {
		if got, err := localexec.ParseManaged([]byte(bad)); err == nil || got != (localexec.Managed{}) {
			t.Errorf("%s: %+v", bad, got)
		}
	}
}
