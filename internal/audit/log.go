package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"firma/internal/fault"
	"firma/internal/ids"
)

// Log appends events. All methods are safe for concurrent use.
//
// Two goroutines serve a log: the writer, which chains and writes everything
// that is queued with one write, and the signer, which makes checkpoints beside
// it. Nothing is ever dropped: when the queue is full, callers wait. After the
// first write error the log is dead: every call fails, so that every decision
// denies.
type Log struct {
	opt   Options
	store *store

	entries sync.Pool // of *entry

	gate   sync.RWMutex // read: sending to queue; write: closing it
	closed bool         // guarded by gate
	queue  chan *entry

	mu       sync.Mutex // guards the next three
	written  tree       // the events that are in the file
	offset   int64      // their bytes
	unsigned int        // how many of them came after the last checkpoint

	failure atomic.Pointer[error] // the first write error

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
		dirty: make(chan struct{}, 1), due: make(chan struct{}, 1),
		drained: make(chan struct{}), done: make(chan struct{}),
	}
	go l.writeLoop()
	go l.signLoop()
	return l
}

// Append adds e to the log and returns when it is written: handed to the kernel,
// or on the disk if Strict. It sets Schema, Outcome, EventID and Timestamp where
// they are missing, and Seq, PrevHash and Signature. An error means that the
// caller must refuse what it wanted recorded; the fault AuditUnavailable says
// why. If ctx ends while the write is under way, the event may be in the log all
// the same.
func (l *Log) Append(ctx context.Context, e *Event) error {
	en, err := l.prepare(e)
	if err != nil {
		return err
	}
	en.waiter = true
	if err := l.enqueue(ctx, en); err != nil {
		return err
	}
	return l.await(ctx, en, e)
}

// Record queues e and returns without waiting for the write; it waits only while
// the queue is full. Seq and PrevHash stay unset. A write that fails later fails
// all later calls and Close.
func (l *Log) Record(e *Event) error {
	en, err := l.prepare(e)
	if err != nil {
		return err
	}
	en.waiter = false
	return l.enqueue(context.Background(), en)
}

// prepare completes e and encodes it, in the caller's goroutine.
func (l *Log) prepare(e *Event) (*entry, error) {
	if err := l.err(); err != nil {
		return nil, err
	}
	l.complete(e)
	if l.opt.SignEvents {
		if err := e.sign(l.opt.Key); err != nil {
			return nil, l.unavailable(err)
		}
	}
	en := l.entries.Get().(*entry)
	if err := en.line.encode(e); err != nil {
		l.recycle(en)
		return nil, fault.Wrap(err, "AuditEventInvalid", "the event's info is not a plain JSON object",
			"Use strings, booleans, null, whole numbers, arrays and objects.")
	}
	if n := len(en.line.buf) + seqDigits; n > MaxEventBytes {
		return nil, fault.New("AuditEventInvalid", fmt.Sprintf("the event has %d bytes", n),
			fmt.Sprintf("An event may have %d bytes.", MaxEventBytes))
	}
	return en, nil
}

func (l *Log) complete(e *Event) {
	e.Schema, e.Signature = Schema, ""
	if e.EventID == "" {
		e.EventID = ids.New(ids.Event)
	}
	if e.Outcome == "" && e.Decision != 0 {
		e.Outcome = e.Decision.String()
	}
	if e.Timestamp == 0 {
		e.Timestamp = Quantise(l.opt.Now())
	}
	e.Timestamp = quantised(e.Timestamp)
}

// enqueue hands en to the writer. While the queue is full it waits for ctx.
func (l *Log) enqueue(ctx context.Context, en *entry) error {
	if !l.gate.TryRLock() { // fails only for Close, which must not be waited for
		return l.unavailable(errClosed)
	}
	defer l.gate.RUnlock()
	if l.closed {
		return l.unavailable(errClosed)
	}
	select {
	case l.queue <- en:
		return nil
	default:
	}
	select {
	case l.queue <- en:
		return nil
	case <-ctx.Done():
		return l.unavailable(fmt.Errorf("its queue is full: %w", context.Cause(ctx)))
	}
}

// await waits until en is written, and tells e its place.
func (l *Log) await(ctx context.Context, en *entry, e *Event) error {
	select {
	case <-en.done:
	case <-ctx.Done(): // en stays with the writer
		return l.unavailable(fmt.Errorf("the write takes too long: %w", context.Cause(ctx)))
	}
	err := en.err
	if err == nil {
		e.Seq, e.PrevHash = en.seq, hexHash(en.prev)
	}
	l.recycle(en)
	return err
}

// Close takes no more events, writes the queued ones, seals the log with a final
// checkpoint and returns it. If the log failed, the checkpoint is the last one
// that was stored and the error says why. If ctx ends first, closing goes on;
// Close may be called again to wait for it.
func (l *Log) Close(ctx context.Context) (Checkpoint, error) {
	l.closing.Do(func() { go l.shut() })
	select {
	case <-l.done:
		return l.last, l.err()
	case <-ctx.Done():
		return Checkpoint{}, l.unavailable(fmt.Errorf("closing takes too long: %w", context.Cause(ctx)))
	}
}

func (l *Log) shut() {
	l.gate.Lock()
	l.closed = true
	l.gate.Unlock()
	close(l.queue)
}

var errClosed = errors.New("it is closed")

// err returns the write error that ended the log, or nil.
func (l *Log) err() error {
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
		"Make sure its disk has space and is healthy, then start again: nothing is allowed without a record.")
}
