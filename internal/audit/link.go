package audit

import "fmt"

// accept takes p as event next: it checks the link to the event before, and adds
// p to the tree.
func (v *verifier) accept(p placed) error {
	v.settleRival(&p)
	v.link(&p)
	v.add(p.leaf)
	v.next++
	v.beforeThat, v.before = v.before, p
	return v.check()
}

// settleRival decides, by the link of the event after them, which of two events
// with the same number is the log's.
func (v *verifier) settleRival(after *placed) {
	r := v.rival
	v.rival = placed{}
	switch {
	case !r.known:
	case after != nil && after.prev == r.leaf && r.leaf != v.before.leaf:
		v.blamePlaced(ProblemInserted, &v.before, fmt.Sprintf("was inserted: line %d is event %d", r.line, r.seq))
		v.taint()
		v.before = r
	default:
		v.double(r)
	}
}

// link finds out which event a broken link accuses. A changed event breaks the
// link after it; one whose prev_hash was changed breaks both of its links.
func (v *verifier) link(p *placed) {
	fits := v.fits(p)
	switch before := &v.before; {
	case !before.known:
		if v.next == 0 && !fits && !p.blamed {
			v.blamePlaced(ProblemEdited, p, "was edited: it is first, but links to an event before it")
		}
	case before.suspect && fits:
		v.accusePredecessor(before)
	case before.suspect:
		v.blamePlaced(ProblemEdited, before, "was edited; its link to the event before does not fit either, which may have been edited, too")
	case !fits && !before.blamed:
		p.suspect = !p.blamed // else its own edit was of the link, too
	}
	if !fits {
		v.taint()
	}
}

// fits reports whether p's prev_hash is the hash of the event before, as far as
// that is known.
func (v *verifier) fits(p *placed) bool {
	if v.next == 0 || v.before.known {
		return p.prev == v.before.leaf // the zero hash before the first event
	}
	return true
}

// accusePredecessor reports the event before p, to which p does not link.
func (v *verifier) accusePredecessor(p *placed) {
	p.suspect = false
	q := v.beforeThat
	q.seq, q.known = p.seq-1, true
	v.blamePlaced(ProblemEdited, &q, "was edited: the event after it links to other content")
}

// endLink reports a broken link that nothing after it explains.
func (v *verifier) endLink() {
	if v.before.suspect {
		v.accusePredecessor(&v.before)
	}
}
