package audit

import (
	"context"
	"encoding/hex"
	"errors"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	seqDigits = 20        // of the largest uint64
	maxBatch  = 256 << 10 // bytes gathered for one write, about 300 events
	maxPooled = 16 << 10  // bytes of buffer that an entry keeps between events
)

// entry is one encoded event on its way to the file. It belongs to the caller
// until it is queued, then to the writer, and with waiter set to the caller
// again once done has a value.
type entry struct {
	line   line
	waiter bool
	done   chan struct{} // one value when the outcome below is set

	seq  uint64
	prev tlog.Hash
	err  error
}

func newEntry() any { return &entry{done: make(chan struct{}, 1)} }

// recycle gives an entry that nobody refers to any more to the next event.
func (l *Log) recycle(en *entry) {
	if cap(en.line.buf) <= maxPooled {
		l.entries.Put(en)
	}
}

// finish reports the outcome to whoever waits.
func (l *Log) finish(en *entry, err error) {
	if !en.waiter {
		l.recycle(en)
		return
	}
	en.err = err
	en.done <- struct{}{}
}

// maxLinger is how long what Record queued waits for company. Most of it goes out
// with the next Append, by which a busy log saves every second write.
const maxLinger = 2 * time.Millisecond

// writer is the state of whoever has the turn.
type writer struct {
	log   *Log
	next  tree // written, plus the batch in hand
	prev  tlog.Hash
	hash  *hasher
	batch []*entry
	block []byte
	ended bool // the queue is closed, and empty
}

// writeLoop has its turns until the queue is closed and everything written.
func (l *Log) writeLoop() {
	defer close(l.drained)
	defer l.linger.Stop()
	for {
		select {
		case <-l.wake:
		case <-l.linger.C:
		}
		l.soon.Store(false) // before looking: what is queued after the look wakes again
		l.turn.Lock()
		for l.writer.round() {
		}
		ended := l.writer.ended
		l.turn.Unlock()
		if ended {
			return
		}
	}
}

// push has en, which is queued, written. Going to the writer's goroutine and back
// costs more than the write, so a caller that can wait for as long as a write
// takes has the turn itself when nobody else has it.
func (l *Log) push(ctx context.Context, en *entry) {
	if ctx.Done() != nil || !l.turn.TryLock() {
		poke(l.wake)
		return
	}
	l.write(en)
	if len(l.queue) > 0 {
		poke(l.wake)
	}
}

// write has the turn until en is written. A panic ends the log, which nobody could
// write to any more, and is told to all whose events were in hand, before it goes
// on to the caller.
func (l *Log) write(en *entry) {
	whole := false
	defer func() {
		if !whole {
			l.fail(errors.New("writing it panicked"))
			l.writer.settle(l.Err())
		}
		l.turn.Unlock()
	}()
	for len(en.done) == 0 && l.writer.round() {
	}
	whole = true
}

// later has what is queued written before long.
func (l *Log) later() {
	if len(l.queue) > cap(l.queue)/2 {
		poke(l.wake)
		return
	}
	if l.soon.CompareAndSwap(false, true) {
		l.linger.Reset(maxLinger)
	}
}

// round commits what is queued; false if that is nothing.
func (w *writer) round() bool {
	w.gather()
	if len(w.batch) == 0 {
		return false
	}
	err := w.log.Err()
	if err == nil {
		err = w.commit()
	}
	w.settle(err)
	return true
}

// settle reports the outcome of the batch.
func (w *writer) settle(err error) {
	for i, en := range w.batch {
		if w.batch[i] = nil; en != nil {
			w.log.finish(en, err)
		}
	}
}

// gather collects what is waiting, up to maxBatch bytes.
func (w *writer) gather() {
	w.batch = w.batch[:0]
	for size := 0; size < maxBatch; {
		select {
		case en, ok := <-w.log.queue:
			if !ok {
				w.ended = true
				return
			}
			w.batch = append(w.batch, en)
			size += len(en.line.buf)
		default:
			return
		}
	}
}

// commit chains the batch and writes it with one write. After an error the log
// has failed, and the file holds what it held before.
func (w *writer) commit() error {
	w.block = w.block[:0]
	for _, en := range w.batch {
		en.seq, en.prev = w.next.n, w.prev
		w.block, w.prev = en.line.appendTo(w.block, w.hash, w.prev, w.next.n)
		w.block = append(w.block, '\n')
		w.next.add(w.prev)
	}
	if err := w.log.store.log.append(w.block); err != nil {
		w.log.fail(err)
		return w.log.Err()
	}
	w.log.publish(&w.next, w.log.store.log.size, len(w.batch))
	return nil
}

// publish lets the signer see what is in the file now.
func (l *Log) publish(t *tree, offset int64, added int) {
	l.mu.Lock()
	l.written.copyFrom(t)
	l.offset = offset
	first := l.unsigned == 0
	l.unsigned += added
	due := l.unsigned >= l.opt.CheckpointEvery
	l.mu.Unlock()
	if first {
		poke(l.dirty)
	}
	if due {
		poke(l.due)
	}
}

// poke leaves one token in c.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func hexHash(h tlog.Hash) string { return hex.EncodeToString(h[:]) }
