package audit

import (
	"encoding/hex"

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

// writer is the state of the writing goroutine.
type writer struct {
	log   *Log
	next  tree // written, plus the batch in hand
	prev  tlog.Hash
	hash  *hasher
	batch []*entry
	block []byte
}

// writeLoop commits what is queued, everything at once, until the queue closes.
func (l *Log) writeLoop() {
	defer close(l.drained)
	w := &writer{log: l, hash: newHasher()}
	for en := range l.queue {
		w.gather(en)
		err := l.Err()
		if err == nil {
			err = w.commit()
		}
		for i, en := range w.batch {
			w.batch[i] = nil
			l.finish(en, err)
		}
	}
}

// gather collects first and what else is waiting, up to maxBatch bytes.
func (w *writer) gather(first *entry) {
	w.batch = append(w.batch[:0], first)
	for size := len(first.line.buf); size < maxBatch; {
		select {
		case en, ok := <-w.log.queue:
			if !ok {
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
