package audit

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"firma/internal/verdict"
)

// testKey is one P-256 key for all tests.
var testKey = sync.OnceValue(func() *Key {
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return mustKey(newKey("test", secret))
})

func mustKey(k *Key, err error) *Key {
	if err != nil {
		panic(err)
	}
	return k
}

func edKey(t testing.TB) *Key {
	t.Helper()
	_, secret, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return mustKey(newKey("test", secret))
}

// testOptions are those of a fresh log in its own directory.
func testOptions(t testing.TB) Options {
	dir := filepath.Join(t.TempDir(), "state")
	return Options{
		Path: filepath.Join(dir, "run.jsonl"), CheckpointDir: filepath.Join(dir, "checkpoints"),
		Origin: "sbx_test", Key: testKey(),
	}
}

func (o Options) verify() VerifyOptions {
	return VerifyOptions{Path: o.Path, Key: o.Key.Public(), CheckpointDir: o.CheckpointDir}
}

func sampleEvent(i int) *Event {
	e := &Event{
		SessionID: "local-dev", AgentID: "agt_1", TokenID: "ctok_1", Action: "code.read", SandboxID: "sbx_test",
		Resource: fmt.Sprintf("api.github.com/repos/%d", i), Decision: verdict.Allow, Kind: KindRequest,
		EnforcementLatencyUS: int64(i) * 7, ContextHash: "abcd", BundleVersion: "12345678",
	}
	if i%3 == 1 {
		e.Decision, e.Reason = verdict.Deny, verdict.PolicyDenied
		e.DenyReason = "policy denied: \"no\" <é\n\xff>"
	}
	if i == 0 {
		e.Kind, e.Decision = KindRunStart, verdict.Unspecified
		e.Info = []byte(`{"backend": "bwrap", "net": false, "mounts": ["/usr", {"rw": "/work"}], "uid": 1000}`)
	}
	return e
}

func openLog(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func closeLog(t testing.TB, l *Log) Checkpoint {
	t.Helper()
	c, err := l.Close(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// appendEvents adds n sample events, and returns them as Append left them.
func appendEvents(t testing.TB, l *Log, n int) []*Event {
	t.Helper()
	events := make([]*Event, n)
	for i := range events {
		events[i] = sampleEvent(i)
		if err := l.Append(context.Background(), events[i]); err != nil {
			t.Fatal(err)
		}
	}
	return events
}

// writeLog makes a sealed log of n events with a checkpoint every few.
func writeLog(t testing.TB, o Options, n int) Checkpoint {
	t.Helper()
	l := openLog(t, o)
	appendEvents(t, l, n)
	return closeLog(t, l)
}

func mustVerify(t testing.TB, o VerifyOptions) Report {
	t.Helper()
	r, err := Verify(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantStatus(t testing.TB, r Report, want string) {
	t.Helper()
	if r.Status != want {
		t.Fatalf("status %q, want %q:\n%s", r.Status, want, r.Text())
	}
}

func readLines(t testing.TB, path string) [][]byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.SplitAfter(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
}
