package audit

import (
	"errors"
	"io"
	"math"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// verifier walks a log once. It keeps the Merkle tree's edge, the event before,
// and what is out of place; nothing that grows with a good log.
//
// Each event is checked against its predecessor (seq and prev_hash), each prefix
// that was signed against its checkpoint. One change breaks several of these
// checks; place.go, doubles.go, link.go and roots.go name the event that explains
// them.
type verifier struct {
	report *Report
	reader *reader
	signed *checkpoints
	log    growing
	lines  *lines

	next       uint64            // seq of the event expected now
	before     placed            // the event with seq next-1; zero if unknown
	beforeThat placed            // the event before it
	held       *placed           // an event ahead of its place, until the line after it is seen
	rival      placed            // another event with the seq of before, until the link after it decides
	garbage    uint64            // unreadable lines since the last event
	gaps       []gap             // seqs that have not been seen
	astray     map[uint64]placed // events that came before their place
	doubles    []placed          // events with a seq that was seen before

	roots
}

// placed is an event and where it stands.
type placed struct {
	seq     uint64
	id      string
	line    int
	time    int64
	prev    tlog.Hash
	leaf    tlog.Hash
	known   bool // false for the zero value: there is no such event
	blamed  bool // a problem was reported: links that do not fit are explained
	suspect bool // its link to its predecessor does not fit; not yet reported
}

// run reads the log to its end.
func (v *verifier) run() error {
	v.lines, v.astray = newLines(v.log), map[uint64]placed{}
	if err := v.start(); err != nil {
		return err
	}
	for {
		raw, whole, err := v.lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = v.line(raw, whole)
		}
		if err != nil {
			return err
		}
	}
	return v.finish()
}

func (v *verifier) line(raw []byte, whole bool) error {
	e, err := v.reader.read(raw)
	if !whole {
		if err != nil && v.log.grew() {
			return nil // its end was being written while we looked
		}
		v.report.add(ProblemTorn, -1, "", v.lines.n, "line %d has no end: a write was cut off or the file shortened", v.lines.n)
		if err != nil {
			return nil
		}
	}
	if err != nil {
		v.garbage++
		v.report.add(ProblemMalformed, int64(v.next), e.EventID, v.lines.n, "line %d, where event %d belongs, is not an event: %s",
			v.lines.n, v.next, printable(err.Error()))
		return nil
	}
	v.form(&e)
	return v.place(v.placed(&e))
}

func (v *verifier) placed(e *stored) placed {
	prev, _ := parseHex(e.PrevHash) // read has parsed it
	v.count(e.Timestamp)
	return placed{seq: e.Seq, id: e.EventID, line: v.lines.n, time: e.Timestamp, prev: prev, leaf: e.leaf, known: true}
}

func (v *verifier) count(ns int64) {
	at := time.Unix(0, ns).UTC()
	if v.report.Events == 0 {
		v.report.First = at
	}
	v.report.Last = at
	v.report.Events++
}

// form checks what an event shows by itself.
func (v *verifier) form(e *stored) {
	if !e.canonical {
		v.blame(ProblemNotCanonical, e, "is not as firma writes it: white space, order, escapes or members were changed")
	}
	// The signature is not part of the hash, so a log that is not signed event
	// by event must not have one.
	switch {
	case v.signEvents && !v.signed.ring.signed(&e.Event):
		v.blame(ProblemSignature, e, "has no valid signature of its own: it was edited or its signature was")
	case !v.signEvents && e.Signature != "":
		v.blame(ProblemSignature, e, "has a signature of its own, which this log does not use")
	}
}

func (v *verifier) blame(kind string, e *stored, what string) {
	seq := int64(min(e.Seq, 1<<62))
	v.report.add(kind, seq, e.EventID, v.lines.n, "line %d, %s, %s", v.lines.n, eventName(seq, e.EventID), what)
}

func (v *verifier) blamePlaced(kind string, p *placed, what string) {
	p.blamed = true
	seq := int64(min(p.seq, 1<<62))
	v.report.add(kind, seq, p.id, p.line, "line %d, %s, %s", p.line, eventName(seq, p.id), what)
}

// finish settles what only the end of the log decides.
func (v *verifier) finish() error {
	if v.held != nil {
		if err := v.jump(*v.held); err != nil {
			return err
		}
		v.held = nil
	}
	if err := v.fill(math.MaxUint64); err != nil {
		return err
	}
	v.settleRival(nil)
	v.endLink()
	if err := v.nameDoubles(); err != nil {
		return err
	}
	v.endPlaces()
	return v.end(v.next)
}
