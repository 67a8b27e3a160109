package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firma/internal/testkit/world"
)

// event is an audit event as these stories look at it.
type event struct {
	world.Event
	EventID        string         `json:"event_id"`
	Parent         string         `json:"parent_action_id"`
	DispatchStatus int            `json:"dispatch_status"`
	ResponseSize   int64          `json:"response_size"`
	Info           map[string]any `json:"info"`
}

// log is the path of the run's one log.
func (r *result) log(t testing.TB) string {
	t.Helper()
	return onlyLog(t, r.state)
}

func onlyLog(t testing.TB, state string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(state, "audit", "*.jsonl"))
	must(t, err)
	if len(found) != 1 {
		t.Fatalf("%d logs in %s, want 1", len(found), state)
	}
	return found[0]
}

// events are all events of the run, in the log's order.
func (r *result) events(t testing.TB) []event {
	t.Helper()
	return readLog(t, r.log(t))
}

func readLog(t testing.TB, path string) []event {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	var all []event
	for line := range bytes.Lines(data) {
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%s: a line is no event: %v\n%s", path, err, line)
		}
		e.Raw = bytes.Clone(line)
		all = append(all, e)
	}
	return all
}

// want is a pattern: fields that are set must be equal, Resource need only be a
// part of the event's.
type want event

func pattern(kind, outcome, reason, resource string) want {
	return want{Event: world.Event{Kind: kind, Outcome: outcome, Reason: reason, Resource: resource}}
}

func (w want) fits(e event) bool {
	return (w.Kind == "" || w.Kind == e.Kind) && (w.Outcome == "" || w.Outcome == e.Outcome) &&
		w.Reason == e.Reason && strings.Contains(target(e.Resource, w.Resource), w.Resource) &&
		(w.DispatchStatus == 0 || w.DispatchStatus == e.DispatchStatus)
}

// target is a recorded resource without its query, unless that is what is wanted.
func target(recorded, wanted string) string {
	if strings.Contains(wanted, "?") {
		return recorded
	}
	path, _, _ := strings.Cut(recorded, "?")
	return path
}

// find returns the events that fit.
func find(events []event, w want) []event {
	var found []event
	for _, e := range events {
		if w.fits(e) {
			found = append(found, e)
		}
	}
	return found
}

// wantRecorded fails unless n events fit.
func wantRecorded(t testing.TB, events []event, n int, w want) []event {
	t.Helper()
	found := find(events, w)
	if len(found) != n {
		t.Errorf("%d events %s %s %s %q, want %d; the log has%s", len(found), w.Kind, w.Outcome, w.Reason, w.Resource, n, told(events))
	}
	return found
}

func told(events []event) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "\n  %d %s %s %s %s %s", e.Seq, e.Kind, e.Outcome, e.Reason, e.Resource, e.DenyReason)
	}
	return b.String()
}

// wantSealed fails unless the run's log verifies and is complete.
func (s *stage) wantSealed(t testing.TB, r *result) {
	t.Helper()
	o := s.firma(t, r.state, "audit", "verify")
	if o.Code != 0 || !strings.HasPrefix(o.Stdout, "OK ") || !strings.Contains(o.Stdout, "sealed") {
		t.Errorf("audit verify: status %d\n%s%s", o.Code, o.Stdout, o.Stderr)
	}
}
