package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// checkpoints reads a checkpoint file, reports what is wrong with it, and yields
// the valid checkpoints in order.
type checkpoints struct {
	lines  *lines
	ring   keyring
	origin string // "" until the first valid one
	report *Report
	pins   []Checkpoint // valid ones from elsewhere, to be found in the file

	valid int
	bad   uint64      // lines refused since the last valid one
	last  *Checkpoint // the last valid one; nil before
}

// next returns the next valid checkpoint, or nil at the end.
func (cs *checkpoints) next() (*Checkpoint, error) {
	for {
		raw, whole, err := cs.lines.next()
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if c := cs.accept(raw, whole); c != nil {
			cs.valid++
			cs.bad = 0
			cs.last = c
			return c, nil
		}
		cs.bad++
	}
}

// accept returns the checkpoint of one line if it is valid and in its place.
func (cs *checkpoints) accept(raw []byte, whole bool) *Checkpoint {
	var c Checkpoint
	if err := json.Unmarshal(raw, &c); err != nil {
		return cs.refuse(ProblemCheckpointInvalid, "is not a checkpoint: it was edited or cut")
	}
	if text, _ := json.Marshal(c); !whole || !bytes.Equal(text, raw) {
		return cs.refuse(ProblemCheckpointInvalid, "is not as firma wrote it: its form was edited or its end cut")
	}
	if kind, err := cs.trust(&c); err != nil {
		return cs.refuse(kind, err.Error())
	}
	if cs.last != nil && c.Number <= cs.last.Number {
		return cs.refuse(ProblemCheckpointOrder, "repeats a checkpoint or stands in the wrong place")
	}
	cs.gap(c.Number)
	cs.match(&c)
	return &c
}

func (cs *checkpoints) refuse(kind, what string) *Checkpoint {
	cs.report.add(kind, -1, "", cs.lines.n, "line %d of the checkpoint file %s", cs.lines.n, what)
	return nil
}

// trust checks the signature and the origin of c, and learns the origin from
// the first.
func (cs *checkpoints) trust(c *Checkpoint) (kind string, err error) {
	if err := cs.ring.check(c); err != nil {
		if errors.Is(err, errForeignKey) {
			return ProblemCheckpointKey, errForeignKey
		}
		return ProblemCheckpointInvalid, err
	}
	if cs.origin == "" {
		cs.origin = c.Origin
	}
	if c.Origin != cs.origin {
		return ProblemCheckpointOrigin, errors.New("belongs to another log, " + c.Origin)
	}
	return "", nil
}

// gap reports the checkpoints missing before number. Refused lines since the
// last valid one stand for as many.
func (cs *checkpoints) gap(number uint64) {
	expected := cs.bad
	if cs.last != nil {
		expected += cs.last.Number + 1
	}
	if number > expected {
		cs.report.add(ProblemCheckpointMissing, -1, "", cs.lines.n, "before line %d of the checkpoint file %s missing",
			cs.lines.n, countAre(number-expected, "checkpoint"))
	}
}

// match compares c with a checkpoint of the same number from elsewhere.
func (cs *checkpoints) match(c *Checkpoint) {
	for i := range cs.pins {
		pin := &cs.pins[i]
		if pin.Number == c.Number && !bytes.Equal(pin.Body(), c.Body()) {
			cs.refuse(ProblemCheckpointInvalid, "differs from the checkpoint of that number kept elsewhere")
		}
	}
}

// end reports pins that the file should hold and does not.
func (cs *checkpoints) end() {
	for i := range cs.pins {
		if pin := &cs.pins[i]; cs.last == nil || pin.Number > cs.last.Number {
			cs.report.add(ProblemCheckpointMissing, -1, "", 0,
				"checkpoint %d (%d events), kept elsewhere, is missing at the end of the checkpoint file", pin.Number, pin.Size)
		}
	}
}

// newest returns the valid checkpoint with the highest number, wherever it was.
func (cs *checkpoints) newest() *Checkpoint {
	best := cs.last
	for i := range cs.pins {
		if best == nil || cs.pins[i].Number > best.Number {
			best = &cs.pins[i]
		}
	}
	return best
}
