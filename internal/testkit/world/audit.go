package world

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

// Event is what tests look at in an audit event; the rest is in Raw.
type Event struct {
	Kind       string `json:"kind"`
	Outcome    string `json:"outcome"`
	Reason     string `json:"reason"`
	Resource   string `json:"resource"`
	Action     string `json:"action"`
	DenyReason string `json:"deny_reason"`
	SessionID  string `json:"session_id"`
	SandboxID  string `json:"sandbox_id"`
	Seq        uint64 `json:"seq"`
	Raw        json.RawMessage
}

// Logs are the audit logs below State, oldest run first.
func (w *World) Logs(t testing.TB) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(w.State, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, ".jsonl") {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Slice(found, func(i, j int) bool { return modified(found[i]) < modified(found[j]) })
	return found
}

func modified(path string) int64 {
	st, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return st.ModTime().UnixNano()
}

// Mark remembers how long each log is, so that Since returns only what a run adds.
type Mark map[string]int64

// Mark takes the lengths now.
func (w *World) Mark(t testing.TB) Mark {
	t.Helper()
	m := Mark{}
	for _, path := range w.Logs(t) {
		if st, err := os.Stat(path); err == nil {
			m[path] = st.Size()
		}
	}
	return m
}

// Since returns the events written since the mark.
func (w *World) Since(t testing.TB, m Mark) []Event {
	t.Helper()
	var events []Event
	for _, path := range w.Logs(t) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(data[min(m[path], int64(len(data))):]) {
			var e Event
			if err := json.Unmarshal(line, &e); err != nil {
				t.Fatalf("%s: a line is not JSON: %v\n%s", path, err, line)
			}
			e.Raw = bytes.Clone(line)
			if e.Kind != "" {
				events = append(events, e)
			}
		}
	}
	return events
}

// Refusals are the events whose outcome is DENY.
func Refusals(events []Event) []Event {
	var found []Event
	for _, e := range events {
		if e.Outcome == "DENY" {
			found = append(found, e)
		}
	}
	return found
}
