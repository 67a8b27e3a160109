package audit

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

const maxOutOfPlace = 1000 // events; bounds memory and time for a log that is all wrong

// gap is a range of seqs without an event.
type gap struct {
	from, to uint64 // inclusive
	line     int    // of the event after it
}

// place puts an event where its seq says, or finds out why it stands elsewhere.
func (v *verifier) place(p placed) error {
	if v.held != nil {
		held := *v.held
		v.held = nil
		if err := v.placeHeld(held, p.seq); err != nil {
			return err
		}
	}
	switch {
	case p.seq == v.next:
		v.garbage = 0 // such lines were added: nothing is missing
		return v.accept(p)
	case v.before.known && p.prev == v.before.leaf:
		return v.renumbered(p, "by its link")
	case p.seq > v.next && v.garbage > 0:
		return v.jump(p)
	case p.seq > v.next:
		v.held = &p
		return nil
	}
	v.late(p)
	return nil
}

// placeHeld decides about an event that came too early, by the seq after it.
func (v *verifier) placeHeld(held placed, after uint64) error {
	switch after {
	case v.next: // the log goes on as if held were not there
		v.stray(held)
		return nil
	case v.next + 1: // held stands where event next should
		if held.seq != v.next+1 {
			return v.renumbered(held, "by its place")
		}
	}
	return v.jump(held)
}

// renumbered accepts an event as next although its seq is another.
func (v *verifier) renumbered(p placed, why string) error {
	claimed := p.seq
	p.seq = v.next
	v.blamePlaced(ProblemEdited, &p, fmt.Sprintf("was edited: its seq is %d, but not %s", claimed, why))
	return v.accept(p)
}

// stray remembers an event that stands before its place.
func (v *verifier) stray(p placed) {
	if _, twice := v.astray[p.seq]; twice || len(v.astray) >= maxOutOfPlace {
		v.double(p)
		return
	}
	v.astray[p.seq] = p
}

// jump accepts p although the events between next and p.seq are not there.
func (v *verifier) jump(p placed) error {
	if err := v.fill(p.seq); err != nil {
		return err
	}
	if missing := p.seq - v.next; missing > 0 {
		if missing > v.garbage { // else the unreadable lines are those events
			v.addGap(gap{v.next, p.seq - 1, p.line})
		}
		if err := v.skip(missing, p.prev); err != nil {
			return err
		}
	}
	v.garbage = 0
	return v.accept(p)
}

// fill accepts events that came too early, as long as they are next and before
// the given seq.
func (v *verifier) fill(end uint64) error {
	for v.next < end {
		early, ok := v.astray[v.next]
		if !ok {
			break
		}
		delete(v.astray, v.next)
		v.blamePlaced(ProblemReordered, &early, "stands before its place")
		if err := v.accept(early); err != nil {
			return err
		}
	}
	return nil
}

// skip goes past missing events. The hash of a single one is in the event after
// it, so the tree stays whole.
func (v *verifier) skip(missing uint64, prev tlog.Hash) error {
	v.settleRival(nil)
	v.endLink()
	if missing == 1 {
		v.add(prev)
	} else {
		v.taint()
	}
	v.next += missing
	v.before = placed{}
	return v.check()
}

func (v *verifier) addGap(g gap) {
	if len(v.gaps) < maxOutOfPlace {
		v.gaps = append(v.gaps, g)
		return
	}
	v.reportGap(g)
}

func (v *verifier) reportGap(g gap) {
	what := fmt.Sprintf("event %d is", g.from)
	if g.to > g.from {
		what = fmt.Sprintf("events %d to %d are", g.from, g.to)
	}
	v.report.add(ProblemMissing, int64(min(g.from, 1<<62)), "", g.line, "before line %d %s missing", g.line, what)
}

// late handles an event whose seq the log has passed already.
func (v *verifier) late(p placed) {
	for i, g := range v.gaps {
		if p.seq < g.from || p.seq > g.to {
			continue
		}
		v.blamePlaced(ProblemReordered, &p, "stands after its place")
		rest := append([]gap{}, v.gaps[:i]...)
		if g.from < p.seq {
			rest = append(rest, gap{g.from, p.seq - 1, g.line})
		}
		if p.seq < g.to {
			rest = append(rest, gap{p.seq + 1, g.to, g.line})
		}
		v.gaps = append(rest, v.gaps[i+1:]...)
		return
	}
	if v.before.known && p.seq == v.before.seq && !v.rival.known {
		v.rival = p
		return
	}
	v.double(p)
}

// endPlaces reports what is still out of place at the end of the log.
func (v *verifier) endPlaces() {
	for _, g := range v.gaps {
		v.reportGap(g)
	}
}
