package audit

import (
	"errors"
	"fmt"
	"io"
)

// double remembers an event whose number is taken.
func (v *verifier) double(p placed) {
	if len(v.doubles) >= maxOutOfPlace {
		v.blamePlaced(ProblemDuplicate, &p, "has the number of another event")
		return
	}
	v.doubles = append(v.doubles, p)
}

// nameDoubles tells, by a second look at the log, which events with a number
// that is taken are copies and which are foreign.
func (v *verifier) nameDoubles() error {
	for _, p := range v.astray {
		v.doubles = append(v.doubles, p)
	}
	if len(v.doubles) == 0 {
		return nil
	}
	bySeq := map[uint64][]*placed{}
	for i := range v.doubles {
		bySeq[v.doubles[i].seq] = append(bySeq[v.doubles[i].seq], &v.doubles[i])
	}
	if _, err := v.log.Seek(0, io.SeekStart); err != nil {
		return err
	}
	lines := newLines(v.log)
	for {
		raw, _, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if e, err := v.reader.read(raw); err == nil {
			v.nameDouble(bySeq[e.Seq], &e, lines.n)
		}
	}
	for i := range v.doubles {
		if p := &v.doubles[i]; !p.blamed {
			v.blamePlaced(ProblemInserted, p, "was inserted: no event of this log has that number")
		}
	}
	return nil
}

// nameDouble blames those doubles that e, at another line, shows to be doubles.
func (v *verifier) nameDouble(doubles []*placed, e *stored, line int) {
	for _, p := range doubles {
		switch {
		case p.line == line || p.blamed:
		case e.leaf == p.leaf:
			v.blamePlaced(ProblemDuplicate, p, fmt.Sprintf("is a copy of line %d", line))
		default:
			v.blamePlaced(ProblemInserted, p, fmt.Sprintf("has the number of line %d: one of the two was inserted", line))
		}
	}
}
