package audit

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gowebpki/jcs"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"firma/internal/audit/canon"
	"firma/internal/verdict"
)

// drawEvent makes any event Append could leave, with hostile text.
func drawEvent(t *rapid.T) *Event {
	text := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
	s := func(name string) string { return text.Draw(t, name) }
	n := func(name string) int64 { return rapid.Int64().Draw(t, name) }
	e := &Event{
		EventID: s("event_id"), SessionID: s("session_id"), TokenID: s("token_id"), AgentID: s("agent_id"),
		Action: s("action"), Resource: s("resource"), Decision: verdict.Outcome(rapid.Byte().Draw(t, "decision")),
		DenyReason: s("deny_reason"), EnforcementLatencyUS: n("enforcement"), ContextHash: s("context"),
		BundleVersion: s("bundle"), Timestamp: n("timestamp"), DispatchStatus: int(n("status")),
		DispatchLatencyUS: n("dispatch"), ResponseSize: n("size"), SandboxID: s("sandbox"), Provenance: s("provenance"),
		ThreadID: s("thread"), ParentActionID: s("parent"), Signature: s("signature"),
		Schema: Schema, Seq: rapid.Uint64Range(0, canon.MaxInt).Draw(t, "seq"),
		PrevHash: hexHash(tlog.RecordHash([]byte(s("prev")))), Kind: s("kind"), Outcome: s("outcome"),
		Reason: verdict.Reason(s("reason")),
	}
	if info := rapid.MapOf(rapid.String(), text).Draw(t, "info"); len(info) > 0 {
		e.Info, _ = json.Marshal(info)
	}
	return e
}

// byJCS encodes e with the standard library and another RFC 8785 implementation.
func byJCS(t *rapid.T, e *Event) string {
	c := *e
	c.EnforcementLatencyUS, c.DispatchLatencyUS = clamp(c.EnforcementLatencyUS), clamp(c.DispatchLatencyUS)
	c.DispatchStatus, c.ResponseSize = int(clamp(int64(c.DispatchStatus))), clamp(c.ResponseSize)
	c.Timestamp = quantised(c.Timestamp)
	raw, err := json.Marshal(&c)
	if err != nil {
		t.Fatal(err)
	}
	want, err := jcs.Transform(raw)
	if err != nil {
		t.Fatal(err)
	}
	return string(want)
}

func TestLineIsJCS(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEvent(t)
		line, leaf, err := appendLine(nil, newHasher(), e)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(byJCS(t, e), string(line)); diff != "" {
			t.Fatalf("stored line is not JCS (-want +got):\n%s", diff)
		}
		canonical, err := AppendCanonical(nil, e)
		if err != nil {
			t.Fatal(err)
		}
		e.Signature = ""
		if diff := cmp.Diff(byJCS(t, e), string(canonical)); diff != "" {
			t.Fatalf("canonical bytes are not JCS without signature (-want +got):\n%s", diff)
		}
		if want := tlog.RecordHash(canonical); leaf != want {
			t.Fatalf("leaf hash %v, want %v", leaf, want)
		}
	})
}

func TestReadInvertsEncode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line, leaf, err := appendLine(nil, newHasher(), drawEvent(t))
		if err != nil {
			t.Fatal(err)
		}
		got, err := newReader().read(line)
		if err != nil || !got.canonical || got.leaf != leaf {
			t.Fatalf("read back canonical=%v leaf=%v err=%v of %s", got.canonical, got.leaf == leaf, err, line)
		}
	})
}

// FuzzRead: whatever bytes are called canonical are exactly what JCS gives.
func FuzzRead(f *testing.F) {
	line, _, err := appendLine(nil, newHasher(), &Event{Schema: Schema, PrevHash: zeroHash, Info: Info("a", "b"), Signature: "x"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add([]byte(`{"schema":"firma.audit.v1"}`))
	f.Add([]byte(strings.Replace(string(line), `"seq":0`, `"seq":1.0`, 1)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := newReader().read(raw)
		if err != nil || !e.canonical {
			return
		}
		want, err := jcs.Transform(raw)
		if err != nil || string(want) != string(raw) {
			t.Fatalf("read calls %q canonical, JCS says %q, %v", raw, want, err)
		}
	})
}

// A timestamp of whole microseconds keeps its digits in RFC 8785; one of
// nanoseconds does not.
func TestTimestampDigitsSurviveJCS(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ns := quantised(rapid.Int64Range(0, 1<<62-1).Draw(t, "ns"))
		text, _ := json.Marshal(ns)
		if got, err := jcs.Transform(text); err != nil || string(got) != string(text) {
			t.Fatalf("JCS prints %s as %s (%v)", text, got, err)
		}
	})
	const odd = "1763918000123456789"
	if got, err := jcs.Transform([]byte(odd)); err != nil || string(got) == odd {
		t.Errorf("JCS keeps %s (%v): quantising would be needless", got, err)
	}
}

func TestQuantise(t *testing.T) {
	at := time.Date(2026, 11, 23, 17, 30, 0, 123456789, time.FixedZone("x", 3600))
	if got, want := Quantise(at), at.UnixNano()-789; got != want {
		t.Errorf("Quantise = %d, want %d", got, want)
	}
	for _, at := range []time.Time{{}, time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC), time.Date(2116, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if got := Quantise(at); got != 0 {
			t.Errorf("Quantise(%v) = %d, want 0", at, got)
		}
	}
}

func TestTreeIsRFC6962(t *testing.T) {
	var tr tree
	var stored []tlog.Hash
	look := tlog.HashReaderFunc(func(at []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(at))
		for i, a := range at {
			out[i] = stored[a]
		}
		return out, nil
	})
	for n := int64(0); n < 300; n++ {
		want, err := tlog.TreeHash(n, look)
		if err != nil || tr.root() != want {
			t.Fatalf("root of %d leaves is %v, want %v (%v)", n, tr.root(), want, err)
		}
		leaf := tlog.RecordHash([]byte{byte(n), byte(n >> 8)})
		more, err := tlog.StoredHashesForRecordHash(n, leaf, look)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, more...)
		tr.add(leaf)
	}
}
