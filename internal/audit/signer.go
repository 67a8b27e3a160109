package audit

import (
	"time"
)

// signLoop makes the checkpoints: one at once, one for every burst of events,
// and the last. Signing takes a tenth of a millisecond, so it is done here and
// not where callers wait.
func (l *Log) signLoop() {
	defer close(l.done)
	l.checkpoint(CheckpointOpen)
	close(l.opened)
	for l.waitUnsigned() {
		l.checkpoint(CheckpointPeriodic)
	}
	l.checkpoint(CheckpointFinal)
	if l.Err() != nil {
		l.lastWords()
	}
	if err := l.store.close(); err != nil {
		l.fail(err)
	}
}

// waitUnsigned waits until a checkpoint is due: CheckpointAfter the first
// unsigned event, or when there are CheckpointEvery. It returns false when the
// writer is done.
func (l *Log) waitUnsigned() bool {
	select {
	case <-l.dirty:
	case <-l.drained:
		return false
	}
	timer := time.NewTimer(l.opt.CheckpointAfter)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.due:
	case <-l.drained:
		return false
	}
	return true
}

// checkpoint signs what is in the file now and stores that. Any error fails the
// log: its next events could not be signed.
func (l *Log) checkpoint(kind string) {
	if l.Err() != nil {
		return
	}
	c, offset := l.next(kind)
	if kind == CheckpointPeriodic && c.Size == l.last.Size {
		return // the timer ran out just after a full count
	}
	if err := l.store.intact(offset); err != nil {
		l.fail(err)
		return
	}
	if err := l.save(c); err != nil {
		l.fail(err)
	}
}

// lastWords tries to sign what was written before the log failed.
func (l *Log) lastWords() {
	c, _ := l.next(CheckpointFailed)
	_ = l.save(c) // the failure is known; this is an extra
}

// next returns the unsigned checkpoint of what is in the file, and its bytes.
func (l *Log) next(kind string) (Checkpoint, int64) {
	var t tree
	l.mu.Lock()
	t.copyFrom(&l.written)
	offset := l.offset
	l.unsigned = 0
	l.mu.Unlock()
	return Checkpoint{
		Origin: l.opt.Origin, Size: t.n, Root: t.root(), Number: l.number,
		Time: l.opt.Now().UTC().Truncate(time.Microsecond), Kind: kind, SignEvents: l.opt.SignEvents,
	}, offset
}

func (l *Log) save(c Checkpoint) error {
	if err := c.sign(l.opt.Key); err != nil {
		return err
	}
	if err := l.store.addCheckpoint(c); err != nil {
		return err
	}
	l.number++
	l.last = c
	if err := l.store.pin(c); err != nil {
		return err
	}
	if l.opt.Witness != nil {
		l.opt.Witness(c)
	}
	return nil
}
