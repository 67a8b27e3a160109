package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// eventful is a run whose log has a bit of everything.
func (s *stage) eventful(t *testing.T, config string) *result {
	t.Helper()
	p := run("bash", "-c", `for i in 1 2 3; do curl -sS -o /dev/null http://plain.test/$i; done
		curl -sS -o /dev/null --cacert ca.pem https://secure.test/; python3 ask.py http://unmapped.test/x http://evil.test/x >/dev/null
		python3 names.py nowhere.test >/dev/null; exit 3`)
	p.config = config
	r := s.run(t, p).wantCode(t, 3)
	return r
}

// TestLog: the log tells the run from its start, with the posture that was enforced,
// to its end; its numbers and hashes are a chain; it holds no argument of the command.
func TestLog(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		r := s.eventful(t, "")
		events := r.events(t)
		first, last := events[0], events[len(events)-1]
		if first.Kind != "run.start" || events[1].Kind != "launch" || last.Kind != "run.end" {
			t.Errorf("the log begins with %s, %s and ends with %s", first.Kind, events[1].Kind, last.Kind)
		}
		posture, _ := first.Info["posture"].(map[string]any)
		for _, fact := range []string{"backend", "namespaces", "network", "capabilities", "no_new_privileges", "seccomp", "mounts", "identity"} {
			if posture[fact] == nil {
				t.Errorf("the posture in run.start has no %s: %v", fact, posture)
			}
		}
		if events[1].Resource != "bash" || fmt.Sprint(last.Info["exit_code"]) != "3" {
			t.Errorf("launch of %s, run.end with %v", events[1].Resource, last.Info)
		}
		for i, e := range events {
			if e.Seq != uint64(i) || e.SandboxID != first.SandboxID || e.SessionID != first.SessionID || e.EventID == "" {
				t.Errorf("event %d is not of this chain: %+v", i, e)
			}
			if bytes.Contains(e.Raw, []byte("curl")) {
				t.Errorf("the command's arguments are in the log: %s", e.Raw)
			}
		}
		for _, d := range find(events, pattern("dispatch", "", "", "")) {
			if !slices.ContainsFunc(events, func(e event) bool { return e.EventID == d.Parent && e.Seq < d.Seq && e.Outcome == "ALLOW" }) {
				t.Errorf("the dispatch %s belongs to no decision before it", d.EventID)
			}
		}
		s.wantSealed(t, r)
		if cp := between(r.err, "root ", ")"); cp == "" || !strings.Contains(s.firma(t, r.state, "audit", "verify", "--json").Stdout, cp) {
			t.Errorf("the checkpoint printed at the end is not the log's: %s", r.err)
		}
	})
}

func between(s, from, to string) string {
	_, s, _ = strings.Cut(s, from)
	s, _, _ = strings.Cut(s, to)
	return s
}

// edit is a change somebody makes to the log, or beside it, and what firma audit
// verify calls it.
type edit struct {
	name string
	make func(lines []string) []string // nil: see at
	at   func(f logFiles) error
	want []string // any of them
}

// logFiles are the files of one log in a state directory.
type logFiles struct{ log, checkpoints, pin string }

func filesOf(t *testing.T, state string) logFiles {
	t.Helper()
	log := onlyLog(t, state)
	pin, err := filepath.Glob(filepath.Join(state, "audit", "checkpoints", filepath.Base(log)+"*"))
	must(t, err)
	if len(pin) != 1 {
		t.Fatalf("%d kept checkpoints", len(pin))
	}
	beside, err := filepath.Glob(log + "?*")
	must(t, err)
	if len(beside) != 1 {
		t.Fatalf("%d checkpoint files", len(beside))
	}
	return logFiles{log, beside[0], pin[0]}
}

var edits = []edit{
	{name: "a letter", make: func(l []string) []string { l[3] = strings.Replace(l[3], "plain", "Plain", 1); return l }, want: []string{"edited"}},
	{name: "an outcome", make: func(l []string) []string {
		i := slices.IndexFunc(l, func(s string) bool { return strings.Contains(s, `"outcome":"DENY"`) })
		l[i] = strings.Replace(l[i], `"outcome":"DENY"`, `"outcome":"ALLOW"`, 1)
		return l
	}, want: []string{"edited"}},
	{name: "white space", make: func(l []string) []string { l[2] = strings.Replace(l[2], ",", ", ", 1); return l }, want: []string{"not_canonical", "edited"}},
	{name: "a member added", make: func(l []string) []string { l[2] = strings.Replace(l[2], "{", `{"aaa":"x",`, 1); return l }, want: []string{"not_canonical", "edited", "malformed"}},
	{name: "the last event", make: func(l []string) []string {
		l[len(l)-1] = strings.Replace(l[len(l)-1], `"3"`, `"0"`, 1)
		return l
	}, want: []string{"edited", "root_mismatch"}},
	{name: "the first event", make: func(l []string) []string { l[0] = strings.Replace(l[0], "generic", "Generic", 1); return l }, want: []string{"edited"}},
	{name: "one removed", make: func(l []string) []string { return slices.Delete(l, 4, 5) }, want: []string{"missing"}},
	{name: "three removed", make: func(l []string) []string { return slices.Delete(l, 2, 5) }, want: []string{"missing"}},
	{name: "the first removed", make: func(l []string) []string { return l[1:] }, want: []string{"missing"}},
	{name: "two swapped", make: func(l []string) []string { l[3], l[4] = l[4], l[3]; return l }, want: []string{"reordered"}},
	{name: "one moved to the end", make: func(l []string) []string { x := l[2]; return append(slices.Delete(l, 2, 3), x) }, want: []string{"reordered"}},
	{name: "one twice", make: func(l []string) []string { return slices.Insert(l, 5, l[3]) }, want: []string{"duplicate"}},
	{name: "one made up", make: func(l []string) []string {
		return slices.Insert(l, 5, strings.Replace(l[3], `"event_id":"aevt_`, `"event_id":"aevt_0`, 1))
	}, want: []string{"inserted", "malformed"}},
	{name: "garbage", make: func(l []string) []string { return slices.Insert(l, 5, "garbage") }, want: []string{"malformed"}},
	{name: "the last cut off", make: func(l []string) []string { return l[:len(l)-1] }, want: []string{"truncated"}},
	{name: "half cut off", make: func(l []string) []string { return l[:len(l)/2] }, want: []string{"truncated"}},
	{name: "all but one cut off", make: func(l []string) []string { return l[:1] }, want: []string{"truncated"}},
	{name: "all cut off", make: func([]string) []string { return nil }, want: []string{"truncated"}},
	{name: "half a line cut off", at: func(f logFiles) error { return shorten(f.log, 100) }, want: []string{"torn", "truncated"}},
	{name: "the last line feed cut off", at: func(f logFiles) error { return shorten(f.log, 1) }, want: []string{"torn"}},
	{name: "the log removed", at: func(f logFiles) error { return os.Remove(f.log) }, want: []string{"log_missing"}},
	{name: "the log and its checkpoints removed", at: func(f logFiles) error {
		return errors.Join(os.Remove(f.log), os.Remove(f.checkpoints))
	}, want: []string{"log_missing"}},
	{name: "the checkpoints removed", at: func(f logFiles) error { return os.Remove(f.checkpoints) }, want: []string{"checkpoint_missing"}},
	{name: "the kept checkpoint removed", at: func(f logFiles) error { return os.Remove(f.pin) }, want: []string{"checkpoint_missing"}},
	{name: "the last checkpoint removed", at: func(f logFiles) error {
		return rewrite(f.checkpoints, func(l []string) []string { return l[:len(l)-1] })
	}, want: []string{"checkpoint_missing"}},
	{name: "a checkpoint edited", at: func(f logFiles) error {
		return rewrite(f.checkpoints, func(l []string) []string { l[0] = strings.Replace(l[0], "open", "0pen", 1); return l })
	}, want: []string{"checkpoint_invalid"}},
	{name: "cut with its checkpoints", at: func(f logFiles) error {
		return errors.Join(rewrite(f.log, func(l []string) []string { return l[:3] }), rewrite(f.checkpoints, func(l []string) []string { return l[:1] }))
	}, want: []string{"truncated", "checkpoint_missing"}},
}

func shorten(path string, by int64) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, st.Size()-by)
}

func rewrite(path string, change func([]string) []string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text := strings.Join(change(strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")), "\n")
	if text != "" {
		text += "\n"
	}
	return os.WriteFile(path, []byte(text), 0o600)
}

// TestTampering: every way to change the log is found, named, and located.
func TestTampering(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		for _, sign := range []string{"checkpoint", "event"} {
			r := s.eventful(t, s.configure(t, settings{more: "[sidecar.audit]\nsign = \"" + sign + "\"\n"}))
			s.wantSealed(t, r)
			for _, e := range edits {
				t.Run("sign="+sign+" "+e.name, func(t *testing.T) { s.tamper(t, r.state, e) })
			}
		}
	})
}

func (s *stage) tamper(t *testing.T, state string, e edit) {
	copied := s.fresh(t, "state")
	must(t, os.CopyFS(copied, os.DirFS(state)))
	f := filesOf(t, copied)
	change := e.at
	if change == nil {
		change = func(f logFiles) error { return rewrite(f.log, e.make) }
	}
	must(t, change(f))
	must(t, s.Account.OwnTree(copied))
	for _, args := range [][]string{{"audit", "verify"}, {"audit", "verify", f.log}} {
		o := s.firma(t, copied, args...)
		named := slices.ContainsFunc(e.want, func(w string) bool { return strings.Contains(o.Stdout, "\n  "+w+": ") })
		if o.Code != 1 || !strings.HasPrefix(o.Stdout, "TAMPERED ") || !named {
			t.Errorf("%q: status %d, want one of %v\n%s%s", args, o.Code, e.want, o.Stdout, o.Stderr)
		}
	}
}

// TestOtherKey: a log verifies with its own key only; a whole log forged with
// another one does not pass.
func TestOtherKey(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		ours, theirs := s.run(t, sh("true")).wantCode(t, 0), s.run(t, sh("true")).wantCode(t, 0)
		key := filepath.Join(theirs.state, "keys", "audit.key.pub.pem")
		if o := s.firma(t, ours.state, "audit", "verify", "--key", key); o.Code != 1 || !strings.Contains(o.Stdout, "checkpoint_key") {
			t.Errorf("status %d\n%s%s", o.Code, o.Stdout, o.Stderr)
		}
		if o := s.firma(t, s.fresh(t, "state"), "audit", "verify", "/no/such/log"); o.Code == 0 || o.Code == 1 && strings.Contains(o.Stdout, "OK") {
			t.Errorf("status %d\n%s", o.Code, o.Stdout)
		}
	})
}

// TestProve: the proof of an event holds without firma: the hash path leads to the
// root that openssl finds signed.
func TestProve(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		r := s.eventful(t, "")
		events := r.events(t)
		for _, which := range []string{"0", "5", events[len(events)-1].EventID} {
			o := s.firma(t, r.state, "audit", "prove", r.log(t), which)
			if o.Code != 0 {
				t.Fatalf("prove %s: status %d %s", which, o.Code, o.Stderr)
			}
			s.checkProof(t, r, []byte(o.Stdout))
		}
		if o := s.firma(t, r.state, "audit", "prove", r.log(t), "9999"); o.Code != 1 || !strings.Contains(o.Stderr, "AuditUnprovable") {
			t.Errorf("proof of no event: status %d %s%s", o.Code, o.Stdout, o.Stderr)
		}
		must(t, rewrite(r.log(t), func(l []string) []string { l[3] = strings.Replace(l[3], "plain", "Plain", 1); return l }))
		if o := s.firma(t, r.state, "audit", "prove", r.log(t), "5"); o.Code == 0 {
			t.Error("there is a proof from a log that was edited")
		}
	})
}

// proof is what firma audit prove prints.
type proof struct {
	Seq        int64
	Event      string
	LeafHash   string `json:"leaf_hash"`
	Path       []string
	Checkpoint struct{ Body, Key, Signature string }
}

func (s *stage) checkProof(t *testing.T, r *result, text []byte) {
	t.Helper()
	var p proof
	must(t, json.Unmarshal(text, &p))
	if log, err := os.ReadFile(r.log(t)); err != nil || !bytes.Contains(log, []byte(p.Event[:len(p.Event)-1])) {
		t.Errorf("event %d of the proof is not in the log: %v", p.Seq, err)
	}
	body := strings.Split(p.Checkpoint.Body, "\n")
	var size int64
	_, err := fmt.Sscan(body[1], &size)
	must(t, err)
	root, err := tlog.ParseHash(body[2])
	must(t, err)
	var path tlog.RecordProof
	for _, h := range p.Path {
		path = append(path, unhex(t, h))
	}
	leaf := tlog.RecordHash([]byte(p.Event))
	if leaf != unhex(t, p.LeafHash) {
		t.Errorf("the leaf hash of event %d is not that of its bytes", p.Seq)
	}
	if err := tlog.CheckRecord(path, size, root, p.Seq, leaf); err != nil {
		t.Errorf("event %d: %v", p.Seq, err)
	}
	s.checkSignature(t, r, p)
}

func unhex(t *testing.T, text string) (h tlog.Hash) {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(h) {
		t.Fatalf("%q is no hash: %v", text, err)
	}
	return tlog.Hash(b)
}

// checkSignature asks openssl whether the audit key signed the checkpoint's body.
func (s *stage) checkSignature(t *testing.T, r *result, p proof) {
	t.Helper()
	sig, err := base64.StdEncoding.DecodeString(p.Checkpoint.Signature)
	must(t, err)
	dir := s.fresh(t, "openssl")
	body, signature := filepath.Join(dir, "body"), filepath.Join(dir, "signature")
	must(t, errors.Join(os.WriteFile(body, []byte(p.Checkpoint.Body), 0o600), os.WriteFile(signature, sig, 0o600)))
	out, err := exec.Command("openssl", "dgst", "-sha256", "-verify", filepath.Join(r.state, "keys", "audit.key.pub.pem"),
		"-signature", signature, body).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Verified OK") {
		t.Errorf("openssl: %v %s", err, out)
	}
}

// TestStrict: strict mode and signed events are recorded as such and verify.
func TestStrict(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		r := s.eventful(t, s.configure(t, settings{more: "[sidecar.audit]\nmode = \"strict\"\nsign = \"event\"\n"}))
		s.wantSealed(t, r)
		for _, e := range r.events(t) {
			var m map[string]any
			must(t, json.Unmarshal(e.Raw, &m))
			if m["signature"] == nil {
				t.Errorf("event %d is not signed", e.Seq)
			}
		}
	})
}
