package uplink

import (
	"maps"
	"sync/atomic"
)

// recentMax is how many late revocations are kept apart before they are merged
// into the large map: copying is cheap for each and rare for all.
const recentMax = 1024

// revocations is the set of withdrawn token ids. One goroutine at a time adds;
// any number ask. Before the first replay is complete every token counts as
// revoked. It never forgets an id.
type revocations struct {
	limit int
	ids   atomic.Pointer[idSet]
	state atomic.Uint32

	next idSet // the writer's
}

// idSet is immutable once published: ids are in one of two maps.
type idSet struct{ old, recent map[string]struct{} }

func (s *idSet) has(id string) bool {
	if _, ok := s.recent[id]; ok {
		return true
	}
	_, ok := s.old[id]
	return ok
}

// The states. Pending is the zero value.
const (
	statePending uint32 = iota
	stateReady
	stateDown // disconnected, and configured to be closed then
	stateFull // more ids than fit: for good
)

// has does not allocate and takes no lock.
func (r *revocations) has(id string) bool {
	s := r.ids.Load()
	return s == nil || r.state.Load() == stateFull || s.has(id)
}

func (r *revocations) ready() bool { return r.state.Load() == stateReady }

// add puts id into the set, visible at once when the set has been published. It
// returns false, and the set refuses everything from then on, when there is no
// room.
func (r *revocations) add(id string) bool {
	if r.state.Load() == stateFull {
		return false
	}
	if r.next.has(id) {
		return true
	}
	if len(r.next.old)+len(r.next.recent) >= r.limit {
		r.state.Store(stateFull)
		return false
	}
	if r.ids.Load() == nil {
		r.collect(id)
		return true
	}
	r.publish(id)
	return true
}

// collect fills the large map while nobody reads it.
func (r *revocations) collect(id string) {
	if r.next.old == nil {
		r.next.old = map[string]struct{}{}
	}
	r.next.old[id] = struct{}{}
}

// publish replaces the set by one that has id, too.
func (r *revocations) publish(id string) {
	if len(r.next.recent) >= recentMax {
		old := maps.Clone(r.next.old)
		if old == nil {
			old = map[string]struct{}{}
		}
		maps.Copy(old, r.next.recent)
		r.next = idSet{old: old}
	}
	recent := make(map[string]struct{}, len(r.next.recent)+1)
	maps.Copy(recent, r.next.recent)
	recent[id] = struct{}{}
	r.next.recent = recent
	r.ids.Store(&idSet{r.next.old, recent})
}

// replayed publishes what was collected and opens the set.
func (r *revocations) replayed() {
	if r.ids.Load() == nil {
		r.ids.Store(&idSet{r.next.old, r.next.recent})
	}
	r.move(statePending, stateReady)
	r.move(stateDown, stateReady)
}

// disconnected closes an open set until the next replay is complete.
func (r *revocations) disconnected() { r.move(stateReady, stateDown) }

func (r *revocations) move(from, to uint32) { r.state.CompareAndSwap(from, to) }
