package revocation

import (
	"sync"
	"time"
)

// Event is a revocation as it is served. Seen is when this process began to
// serve it, whatever the file says, and never goes back: the order of a replay.
type Event struct {
	TokenID, Reason string
	Seen            time.Time
}

// Log is every revocation this process has seen, in the order it saw them. It
// only grows: an entry that leaves the file stays revoked until the restart. It
// is safe for concurrent use.
type Log struct {
	mu      sync.Mutex
	events  []Event
	known   map[string]struct{}
	changed chan struct{} // closed when events grows
}

// NewLog returns an empty log.
func NewLog() *Log { return &Log{known: map[string]struct{}{}, changed: make(chan struct{})} }

// Merge adds the entries not seen before, as of now, and returns how many those
// were. Entries that have ended are left out.
func (l *Log) Merge(entries []Entry, now time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	before, seenAt := len(l.events), now
	if before > 0 && l.events[before-1].Seen.After(now) {
		seenAt = l.events[before-1].Seen
	}
	for _, e := range entries {
		ended := !e.Expires.IsZero() && e.Expires.Before(now)
		if _, seen := l.known[e.TokenID]; seen || ended {
			continue
		}
		l.known[e.TokenID] = struct{}{}
		l.events = append(l.events, Event{e.TokenID, e.Reason, seenAt})
	}
	added := len(l.events) - before
	if added > 0 {
		close(l.changed)
		l.changed = make(chan struct{})
	}
	return added
}

// From returns the events from index n on, and a channel that is closed when
// there are more. The slice is shared: it must not be changed.
func (l *Log) From(n int) ([]Event, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.events[min(n, len(l.events)):len(l.events):len(l.events)], l.changed
}
