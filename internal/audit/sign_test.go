package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"firma/internal/verdict"
)

// TestContractDigest holds the contract's order and separators to a text written
// out by hand.
func TestContractDigest(t *testing.T) {
	e := &Event{
		EventID: "aevt_1", SessionID: "s", TokenID: "ctok_1", AgentID: "agt_1", Action: "code.read",
		Resource: "h/p", Decision: verdict.Deny, DenyReason: "policy denied: x\xff", EnforcementLatencyUS: 12,
		ContextHash: "ch", BundleVersion: "bv", Timestamp: 1_800_000_000_123_456_000, DispatchStatus: 403,
		DispatchLatencyUS: 34, ResponseSize: 56, SandboxID: "sbx_1", Provenance: "pv", ThreadID: "th", ParentActionID: "pa",
		Schema: Schema, Seq: 9, Kind: "request", Outcome: "DENY", Reason: "PolicyDenied",
	}
	text := "aevt_1\ns\nctok_1\nagt_1\ncode.read\nh/p\n2\npolicy denied: x\ufffd\n12\nch\nbv\n1800000000123456000\n403\n34\n56\nsbx_1\npv\nth\npa"
	if got, want := contractDigest(e), sha256.Sum256([]byte(text)); got != want {
		t.Errorf("digest %s, want %s", hex.EncodeToString(got[:]), hex.EncodeToString(want[:]))
	}
}

func TestSignedEvents(t *testing.T) {
	for name, key := range map[string]*Key{"P-256": testKey(), "Ed25519": edKey(t)} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, func(o *Options) { o.SignEvents, o.Key = true, key })
			wantStatus(t, mustVerify(t, f.store(t, f.files())), StatusSealed)
			for i, line := range f.log {
				e := eventAt(f.log, i)
				if e.Signature == "" || !strings.Contains(string(line), `,"signature":"`+e.Signature+`","thread_id"`) {
					t.Fatalf("line %d is not signed: %s", i+1, line)
				}
			}
		})
	}
}

func TestSignedEventsAreNamedWhenEdited(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.SignEvents = true })
	other := eventAt(f.log, 2).Signature
	own := eventAt(f.log, 11).Signature
	for name, c := range map[string]struct {
		lines [][]byte
		want  []found
	}{
		"signature removed":  {replaced(f.log, 11, `,"signature":"`+own+`"`, ""), []found{{ProblemSignature, 11, 12}}},
		"signature replaced": {replaced(f.log, 11, own, other), []found{{ProblemSignature, 11, 12}}},
		"signature padded":   {replaced(f.log, 11, own, own+`\n`), []found{{ProblemSignature, 11, 12}}},
		"content edited":     {replaced(f.log, 11, "repos", "other"), []found{{ProblemSignature, 11, 12}}},
		"our field edited":   {replaced(f.log, 11, `"kind":"request"`, `"kind":"tunnel"`), []found{{ProblemRootMismatch, 11, 12}}},
	} {
		t.Run(name, func(t *testing.T) {
			fs := f.files()
			fs.log = join(c.lines)
			r := f.mustNotice(t, fs, name)
			var got []found
			for _, p := range r.Problems {
				got = append(got, found{p.Kind, p.Seq, p.Line})
			}
			if !sameFound(got, c.want) {
				t.Errorf("found %v, want %v:\n%s", got, c.want, r.Text())
			}
		})
	}
}
