package audit

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"firma/internal/ids"
)

// The kinds of problem.
const (
	ProblemMalformed         = "malformed"          // a line is not an event
	ProblemNotCanonical      = "not_canonical"      // white space, order, escapes or members changed
	ProblemEdited            = "edited"             // an event's content changed
	ProblemMissing           = "missing"            // events before the last one are gone
	ProblemTruncated         = "truncated"          // events at the end are gone
	ProblemReordered         = "reordered"          // an event stands at another place
	ProblemDuplicate         = "duplicate"          // an event is there twice
	ProblemInserted          = "inserted"           // an event that is not of this log
	ProblemTorn              = "torn"               // the last line has no end
	ProblemSignature         = "signature"          // an event's own signature is wrong, missing or unexpected
	ProblemRootMismatch      = "root_mismatch"      // events are not those that were signed
	ProblemAfterSeal         = "after_seal"         // events follow the final checkpoint
	ProblemLogMissing        = "log_missing"        // checkpoints remain of a log that is gone
	ProblemCheckpointInvalid = "checkpoint_invalid" // a checkpoint was edited or forged
	ProblemCheckpointKey     = "checkpoint_key"     // a checkpoint is signed by another key
	ProblemCheckpointOrigin  = "checkpoint_origin"  // a checkpoint is of another log
	ProblemCheckpointMissing = "checkpoint_missing" // a checkpoint is gone
	ProblemCheckpointOrder   = "checkpoint_order"   // a checkpoint is repeated or moved
)

// Problem is one thing that is wrong with a log.
type Problem struct {
	Kind    string `json:"kind"`
	Seq     int64  `json:"seq"`      // the event concerned, -1 if none
	EventID string `json:"event_id"` // its identifier as the log has it; untrusted text
	Line    int    `json:"line"`     // line of the log, or of the checkpoint file for checkpoint problems; 0 if none
	Text    string `json:"text"`     // for people; safe to print
}

// The results of verification. Status in a Report is one of them.
const (
	StatusSealed   = "sealed"   // complete, signed and ended in order
	StatusUnsealed = "unsealed" // no problem found, but no final checkpoint: in use, or its writer was killed
	StatusTampered = "tampered" // there are problems
)

// Report is what Verify found.
type Report struct {
	Path         string      `json:"path"`
	Status       string      `json:"status"`
	Origin       string      `json:"origin"`
	Events       uint64      `json:"events"`        // lines that are events
	Unsigned     uint64      `json:"unsigned"`      // events after the last checkpoint: chained, not yet signed
	First        time.Time   `json:"first"`         // of the first event; zero without events
	Last         time.Time   `json:"last"`          // of the last event
	Sealed       bool        `json:"sealed"`        // a final checkpoint covers every event
	Checkpoints  int         `json:"checkpoints"`   // valid ones in the checkpoint file
	Newest       *Checkpoint `json:"checkpoint"`    // the newest valid one, stored anywhere; nil if none
	Problems     []Problem   `json:"problems"`      // by line; at most MaxProblems
	ProblemCount int         `json:"problem_count"` // all of them
}

// MaxProblems bounds the problems a Report lists; the rest is counted.
const MaxProblems = 1000

// OK reports whether no problem was found. A log that is OK but not sealed may
// have lost events after its newest checkpoint.
func (r *Report) OK() bool {
	return r.ProblemCount == 0 && r.Status != StatusTampered && r.Status != ""
}

func (r *Report) add(kind string, seq int64, id string, line int, format string, args ...any) {
	r.ProblemCount++
	if len(r.Problems) < MaxProblems {
		r.Problems = append(r.Problems, Problem{kind, seq, id, line, fmt.Sprintf(format, args...)})
	}
}

// settle orders the problems and sets the status.
func (r *Report) settle() {
	slices.SortStableFunc(r.Problems, func(a, b Problem) int { return a.Line - b.Line })
	switch {
	case r.ProblemCount > 0:
		r.Status, r.Sealed = StatusTampered, false
	case r.Sealed:
		r.Status = StatusSealed
	default:
		r.Status = StatusUnsealed
	}
}

// Text returns the report for people: one line if all is well, else one more per
// problem. It holds no control characters of the log.
func (r *Report) Text() string {
	var b strings.Builder
	switch r.Status {
	case StatusSealed:
		fmt.Fprintf(&b, "OK %s: %s\n", printable(r.Path), r.summary())
	case StatusUnsealed:
		fmt.Fprintf(&b, "UNSEALED %s: %s\n  %s\n", printable(r.Path), r.summary(), r.unsealed())
	default:
		fmt.Fprintf(&b, "TAMPERED %s: %s, %s\n", printable(r.Path), count(r.ProblemCount, "problem"), r.summary())
		for _, p := range r.Problems {
			fmt.Fprintf(&b, "  %s: %s\n", p.Kind, p.Text)
		}
		if n := r.ProblemCount - len(r.Problems); n > 0 {
			fmt.Fprintf(&b, "  and %d more\n", n)
		}
	}
	return b.String()
}

func (r *Report) summary() string {
	s := count(int(r.Events), "event")
	if r.Events > 0 {
		s += " from " + r.First.Format(time.RFC3339) + " to " + r.Last.Format(time.RFC3339)
	}
	switch {
	case r.Newest == nil:
		return s + ", no checkpoint"
	case r.Sealed:
		s += ", sealed"
	}
	return fmt.Sprintf("%s; %s, key %.16s", s, count(r.Checkpoints, "checkpoint"), r.Newest.KeyID)
}

func (r *Report) unsealed() string {
	why := "there is no final checkpoint: the log is in use, or its writer was killed"
	if r.Newest != nil && r.Newest.Kind == CheckpointFailed {
		why = "its writer stopped after a write error"
	}
	if r.Unsigned > 0 {
		why += fmt.Sprintf("; %s after the last checkpoint are chained but not yet signed", count(int(r.Unsigned), "event"))
	}
	return why
}

// countAre returns "1 thing is" or "N things are".
func countAre(n uint64, thing string) string {
	if n == 1 {
		return "1 " + thing + " is"
	}
	return strconv.FormatUint(n, 10) + " " + thing + "s are"
}

func count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return strconv.Itoa(n) + " " + thing
}

// printable returns untrusted text as it is if it is harmless on a terminal, and
// quoted and shortened otherwise.
func printable(s string) string {
	quoted := strconv.QuoteToASCII(s)
	if quoted == `"`+s+`"` && len(s) <= 200 {
		return s
	}
	if len(quoted) > 200 {
		quoted = quoted[:200] + "…"
	}
	return quoted
}

// eventName names an event in a problem's text.
func eventName(seq int64, id string) string {
	if !ids.Valid(ids.Event, id) {
		id = printable(id)
	}
	return fmt.Sprintf("event %d (%s)", seq, id)
}
