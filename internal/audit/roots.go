package audit

import "golang.org/x/mod/sumdb/tlog"

// roots compares the Merkle tree of the events with the checkpoints.
type roots struct {
	tree       tree
	tainted    bool        // events are known to be changed: roots cannot fit any more
	signEvents bool        // by the first checkpoint
	ahead      *Checkpoint // the next one of the file
	good       uint64      // size of the last checkpoint that fits
	misfit     *misfit     // the first that does not
}

// misfit is a checkpoint whose root is not the log's.
type misfit struct {
	c    Checkpoint
	good uint64 // events before this one fit an earlier checkpoint
	last placed // the last event it covers
}

// start reads the first checkpoint and checks those of the empty log.
func (v *verifier) start() (err error) {
	if v.ahead, err = v.signed.next(); err != nil {
		return err
	}
	if v.ahead != nil {
		v.signEvents = v.ahead.SignEvents
	} else if c := v.signed.newest(); c != nil {
		v.signEvents = c.SignEvents
	}
	return v.check()
}

func (v *verifier) add(leaf tlog.Hash) {
	if !v.tainted {
		v.tree.add(leaf)
	}
}

// taint stops the comparison of roots.
func (v *verifier) taint() { v.tainted = true }

// check compares the checkpoints of the events so far.
func (v *verifier) check() (err error) {
	for v.ahead != nil && v.ahead.Size <= v.next {
		v.compare(v.ahead)
		if v.ahead, err = v.signed.next(); err != nil {
			return err
		}
	}
	for i := range v.signed.pins {
		v.compare(&v.signed.pins[i])
	}
	return nil
}

func (v *verifier) compare(c *Checkpoint) {
	if v.tainted || c.Size != v.tree.n {
		return
	}
	if c.Root == v.tree.root() {
		v.good = c.Size
		return
	}
	v.misfit = &misfit{*c, v.good, v.before}
	v.taint()
}

// end reports what the checkpoints say about the end of the log.
func (v *verifier) end(events uint64) error {
	longest, err := v.drain()
	if err != nil {
		return err
	}
	v.signed.end()
	r := v.report
	r.Checkpoints, r.Origin, r.Newest = v.signed.valid, v.signed.origin, v.signed.newest()
	v.endMisfit()
	if longest != nil && longest.Size > events {
		r.add(ProblemTruncated, int64(events), "", v.lines.n, "the log ends after line %d; event %d and all to event %d, signed by checkpoint %d, are missing",
			v.lines.n, events, longest.Size-1, longest.Number)
	}
	if r.Newest == nil {
		r.Unsigned = events
		return nil
	}
	r.Unsigned = events - min(events, r.Newest.Size)
	if r.Sealed = r.Newest.Sealed(); r.Sealed && r.Unsigned > 0 {
		r.add(ProblemAfterSeal, int64(r.Newest.Size), "", v.lines.n, "%s after the final checkpoint", countAre(r.Unsigned, "event"))
	}
	return nil
}

// drain reads the remaining checkpoints and returns the one of most events.
func (v *verifier) drain() (longest *Checkpoint, err error) {
	for i := range v.signed.pins {
		if c := &v.signed.pins[i]; longest == nil || c.Size > longest.Size {
			longest = c
		}
	}
	for v.ahead != nil {
		if longest == nil || v.ahead.Size > longest.Size {
			longest = v.ahead
		}
		if v.ahead, err = v.signed.next(); err != nil {
			return nil, err
		}
	}
	return longest, nil
}

// endMisfit reports the root that does not fit, unless a problem of one of its
// events explains it.
func (v *verifier) endMisfit() {
	m := v.misfit
	if m == nil {
		return
	}
	for _, p := range v.report.Problems {
		if p.Seq >= int64(m.good) && p.Seq < int64(m.c.Size) {
			return
		}
	}
	if m.c.Size == 0 {
		v.report.add(ProblemRootMismatch, -1, "", 0, "checkpoint %d of the empty log has the wrong root", m.c.Number)
		return
	}
	v.report.add(ProblemRootMismatch, int64(m.c.Size-1), m.last.id, m.last.line,
		"line %d, %s, was edited, or all events from %d to it were rewritten: checkpoint %d signed other content",
		m.last.line, eventName(int64(m.c.Size-1), m.last.id), m.good, m.c.Number)
}
