package enforce

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"firma/internal/control"
	"firma/internal/intent"
	"firma/internal/sidecar/proxy"
	"firma/internal/verdict"
)

// maxLines bounds the lines of a tally, of what was let out and of what was refused
// each: no flood of refusals takes the place of a destination that was reached.
// With maxText it also keeps the summary within one control message. What does not
// fit is counted whole.
const (
	maxLines = 100
	maxText  = 160 // bytes of a destination and of a detail
)

type line struct {
	destination string
	outcome     string
	reason      verdict.Reason
}

// Tally counts decisions by destination. It is safe for concurrent use.
type Tally struct {
	mu      sync.Mutex
	lines   map[line]*control.Count
	refused int // of lines
	more    int64
	noAllow bool
}

func newTally(noAllow bool) *Tally {
	return &Tally{lines: map[line]*control.Count{}, noAllow: noAllow}
}

func (t *Tally) add(destination string, d verdict.Decision) {
	l := lineOf(destination, d)
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.lines[l]
	if c == nil {
		if !t.room(d) {
			t.more++
			return
		}
		c = &control.Count{Destination: l.destination, Outcome: l.outcome, Reason: string(d.Reason), Detail: short(d.Detail), Fix: t.fix(destination, d)}
		t.lines[l] = c
	}
	c.Count++
}

// room takes the place of one more line, if there is one.
func (t *Tally) room(d verdict.Decision) bool {
	if d.Outcome.Dispatches() || d.Outcome == verdict.Abort {
		return len(t.lines)-t.refused < maxLines
	}
	if t.refused >= maxLines {
		return false
	}
	t.refused++
	return true
}

func lineOf(destination string, d verdict.Decision) line {
	return line{short(destination), word(d), d.Reason}
}

func short(s string) string {
	if len(s) <= maxText {
		return s
	}
	return s[:maxText] + "…"
}

// undo takes back an ALLOW that turned into a refusal.
func (t *Tally) undo(destination string, d verdict.Decision) {
	l := lineOf(destination, d)
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.lines[l]; c != nil {
		if c.Count--; c.Count == 0 {
			delete(t.lines, l)
		}
	}
}

func (t *Tally) aborted(resource string, r proxy.Dispatch) {
	host, _, _ := strings.Cut(resource, "/")
	t.add(host, verdict.Decision{Outcome: verdict.Abort, Reason: r.Abort, Detail: r.Detail})
}

// Counts returns the lines: allowed first, then by destination.
func (t *Tally) Counts() (counts []control.Count, more int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.lines {
		counts = append(counts, *c)
	}
	slices.SortFunc(counts, func(a, b control.Count) int {
		return cmp.Or(cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.Reason, b.Reason))
	})
	return counts, t.more
}

func word(d verdict.Decision) string {
	if d.Passthrough {
		return verdict.Passthrough
	}
	return d.Outcome.String()
}

// fix is the one command or edit that would allow what was refused, or "".
func (t *Tally) fix(destination string, d verdict.Decision) string {
	switch d.Reason {
	case verdict.UnclassifiedIntent:
		if d.Detail == noMethod {
			return ""
		}
		return t.allow(destination)
	case verdict.NameNotRoutable:
		return t.allowName(strings.TrimPrefix(destination, "dns:"))
	case verdict.PolicyDenied:
		return "permit " + d.ActionClass + " in a policy of [authority].policy_dir, and forbid it in none (docs/policies.md)"
	case verdict.DestinationForbidden:
		return "name the address in [sidecar.egress].allowed_cidrs, or the host in [sidecar.egress.hosts]"
	case verdict.PolicyBundleStale, verdict.PolicyBundleNotReady, verdict.RevocationCacheNotReady:
		return "check that the Authority is running and reachable"
	case verdict.CapabilityScopeMismatch:
		if d.Hint != "" {
			return d.Hint
		}
		return "issue a capability for " + d.ActionClass + " on " + destination
	case verdict.CapabilityNotFound, verdict.CapabilityExpired, verdict.CapabilityRevoked:
		return "issue a capability for " + d.ActionClass + " on " + destination
	}
	return ""
}

// allowName is the command for a name that the agent asked for. A DNS name may
// hold anything, and the operator may paste the line into a shell: what is no host
// name gets none.
func (t *Tally) allowName(name string) string {
	host, _, err := intent.CanonicalHost(name)
	if err != nil || host != strings.ToLower(name) {
		return ""
	}
	return t.allow(host)
}

// allow is the command that allows host, or the edit where that is refused.
func (t *Tally) allow(host string) string {
	if t.noAllow {
		return addRule(host)
	}
	return "firma run --allow " + host
}

func addRule(host string) string {
	return "a mapping rule for " + host + ", and a policy that permits its class (docs/mapping-rules.md)"
}
