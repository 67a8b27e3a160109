package corpus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

// event is what the corpus looks at in an audit event.
type event struct {
	Kind       string         `json:"kind"`
	Outcome    string         `json:"outcome"`
	Reason     string         `json:"reason"`
	Resource   string         `json:"resource"`
	DenyReason string         `json:"deny_reason"`
	Info       map[string]any `json:"info"`
}

// events are those written since the last call.
func (b *bench) events() []event {
	b.t.Helper()
	f, err := os.Open(b.log)
	must(b.t, err)
	defer f.Close()
	_, err = f.Seek(b.read, io.SeekStart)
	must(b.t, err)
	data, err := io.ReadAll(f)
	must(b.t, err)
	data = data[:bytes.LastIndexByte(data, '\n')+1]
	b.read += int64(len(data))
	var out []event
	for line := range bytes.Lines(data) {
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			b.t.Fatalf("an audit line is not JSON: %v\n%s", err, line)
		}
		out = append(out, e)
	}
	return out
}

// untilDenied are the events up to the first refusal, which may be recorded when
// the connection has ended.
func (b *bench) untilDenied() []event {
	b.t.Helper()
	var out []event
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if out = append(out, b.events()...); len(denied(out)) > 0 {
			return out
		}
	}
	return out
}

// allowed are the requests among events, "METHOD resource" each.
func allowed(events []event) []string {
	var out []string
	for _, e := range events {
		if e.Kind == "request" && e.Outcome == "ALLOW" {
			out = append(out, fmt.Sprint(e.Info["method"], " ", e.Resource))
		}
	}
	return out
}

// denied are the reasons of refusals among events.
func denied(events []event) []string {
	var out []string
	for _, e := range events {
		if e.Outcome == "DENY" {
			out = append(out, e.Reason)
		}
	}
	return out
}
