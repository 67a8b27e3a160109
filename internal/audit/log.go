package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"firma/internal/fault"
)

// Log appends events. All methods are safe for concurrent use.
//
// Whoever has the turn chains and writes everything that is queued with one
// write: a caller of Append, if nobody else has it, or the writer's goroutine. The
// signer's makes checkpoints beside that. Nothing is ever dropped: when the queue
// is full, callers wait. After the first write error the log is dead: every call
// fails, so that every decision denies.
type Log struct {
	opt   Options
	store *store

	entries sync.Pool // of *entry

	gate   sync.RWMutex // read: sending to queue; write: closing it
	closed bool         // guarded by gate
	queue  chan *entry

	turn   sync.Mutex    // to write; guards writer
	writer *writer       //
	wake   chan struct{} // there is something for the writer's goroutine to do
	linger *time.Timer   // likewise, soon
	soon   atomic.Bool   // linger is running

	mu       sync.Mutex // guards the next three
	written  tree       // the events that are in the file
	offset   int64      // their bytes
	unsigned int        // how many of them came after the last checkpoint

	failure atomic.Pointer[error] // the first write error

	opened  chan struct{} // closed once the first checkpoint is stored, or failed to be
	dirty   chan struct{} // there is an unsigned event
	due     chan struct{} // there are CheckpointEvery of them
	drained chan struct{} // closed by the writer when it is done
	done    chan struct{} // closed by the signer when all is stored and closed
	closing sync.Once
	number  uint64     // of the next checkpoint; signer only
	last    Checkpoint // the last one stored; signer only until done is closed
}

// Open creates the log at o.Path. The directory must belong to this user and be
// writable for nobody else; when missing it is made. End it with Close.
func Open(o Options) (*Log, error) {
	if err := o.settle(); err != nil {
		return nil, err
	}
	s, err := openStore(&o)
	if err != nil {
		return nil, err
	}
	return start(o, s), nil
}

func start(o Options, s *store) *Log {
	l := &Log{
		opt: o, store: s, entries: sync.Pool{New: newEntry}, queue: make(chan *entry, o.Queue),
		wake: make(chan struct{}, 1), linger: time.NewTimer(maxLinger),
		opened: make(chan struct{}), dirty: make(chan struct{}, 1), due: make(chan struct{}, 1),
		drained: make(chan struct{}), done: make(chan struct{}),
	}
	l.writer = &writer{log: l, hash: newHasher()}
	go l.writeLoop()
	go l.signLoop()
	return l
}

// Close takes no more events, writes the queued ones, seals the log with a final
// checkpoint and returns it. If the log failed, the checkpoint is the last one
// that was stored and the error says why. If ctx ends first, closing goes on;
// Close may be called again to wait for it.
func (l *Log) Close(ctx context.Context) (Checkpoint, error) {
	l.closing.Do(func() { go l.shut() })
	select {
	case <-l.done:
		return l.last, l.Err()
	case <-ctx.Done():
		return Checkpoint{}, l.unavailable(fmt.Errorf("closing takes too long: %w", context.Cause(ctx)))
	}
}

func (l *Log) shut() {
	l.gate.Lock()
	l.closed = true
	l.gate.Unlock()
	close(l.queue)
	poke(l.wake)
}

var errClosed = errors.New("it is closed")

// Err returns the write error that ended the log, or nil while it works.
func (l *Log) Err() error {
	if p := l.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// fail ends the log with its first write error.
func (l *Log) fail(err error) {
	err = l.unavailable(err)
	l.failure.CompareAndSwap(nil, &err)
}

func (l *Log) unavailable(err error) error {
	return fault.Wrap(err, "AuditUnavailable", "the audit log "+l.opt.Path+" cannot be written",
		"make sure its disk has space and is healthy, then start again: nothing is allowed without a record")
}
