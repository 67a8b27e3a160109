package audit

import (
	"context"
	"fmt"

	"firma/internal/fault"
	"firma/internal/ids"
)

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
	l.push(ctx, en)
	return l.await(ctx, en, e)
}

// Record queues e and returns without waiting for the write, which happens within
// maxLinger; it waits only while the queue is full. Seq and PrevHash stay unset; e
// is the caller's again. A write that fails later fails all later calls and Close.
func (l *Log) Record(e *Event) error {
	en, err := l.prepare(e)
	if err != nil {
		return err
	}
	en.waiter = false
	if err := l.enqueue(context.Background(), en); err != nil {
		return err
	}
	l.later()
	return nil
}

// Roomy reports whether half the queue is free, so that Record would not wait, nor fail,
// about which somebody has to be told. Before the first Append has returned, it may.
func (l *Log) Roomy() bool { return l.Err() == nil && len(l.queue) <= cap(l.queue)/2 }

// prepare completes e and encodes it, in the caller's goroutine.
func (l *Log) prepare(e *Event) (*entry, error) {
	if err := l.Err(); err != nil {
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
			"use strings, booleans, null, whole numbers, arrays and objects")
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

// enqueue hands en to the writer. While the queue is full it waits for ctx. The first
// event waits for the first checkpoint: a log with events and without any would be
// taken for one that somebody cut.
func (l *Log) enqueue(ctx context.Context, en *entry) error {
	select {
	case <-l.opened:
	default:
		select {
		case <-l.opened:
		case <-ctx.Done():
			return l.unavailable(fmt.Errorf("its first checkpoint takes too long: %w", context.Cause(ctx)))
		}
	}
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
	case <-ctx.Done():
		select {
		case <-en.done: // both were ready: it is written
		default: // en stays with the writer
			return l.unavailable(fmt.Errorf("the write takes too long: %w", context.Cause(ctx)))
		}
	}
	err := en.err
	if err == nil {
		e.Seq, e.PrevHash = en.seq, hexHash(en.prev)
	}
	l.recycle(en)
	return err
}
