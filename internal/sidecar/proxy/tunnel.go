package proxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"firma/internal/sidecar/carry"
	"firma/internal/sidecar/crew"
)

const (
	expiredIdle int32 = iota + 1
	expiredSession
)

// tunnel carries bytes both ways between two connections, unread. An end of one
// direction is passed on and the other goes on; a failure ends both. Between plain
// sockets a carry.Pair does it, else two goroutines.
type tunnel struct {
	srv              *Server
	client, upstream net.Conn
	pair             *carry.Pair
	parts            atomic.Int32 // of what lend began, still under way
	conclude         func(error)  // of lend
	stop             func()       // ends the timers
	sent, received   int64        // bytes to the upstream and from it, once run returned
	opening          *opening     // what the client may begin with; nil: anything
	refused          string       // why it may not begin as it did
	expired          atomic.Int32
	moved            atomic.Int64 // grows with every piece carried, but by the pair
	seen             int64        // progress, when the idle timer last looked
	ended            atomic.Bool  // one direction came to its end in order
	gently           atomic.Bool  // who is connected is to be told something yet
	first            sync.Once    // guards failure
	failure          error        // the upstream's, if that ended the tunnel
}

func (t *tunnel) progress() int64 {
	n := t.moved.Load()
	if t.pair != nil {
		n += t.pair.Moved()
	}
	return n
}

// lend has a pair carry the tunnel and returns once the client's opening was
// judged and passed on: the goroutine is not needed any more. conclude is called
// when all is over. false: nothing was begun, since these are no plain sockets.
func (t *tunnel) lend(keep func(*carry.Pair), conclude func(error)) bool {
	t.conclude = conclude
	t.pair = carry.New(t.client, t.upstream, t.srv.cfg.Memory, func(failure error) {
		defer t.srv.recover("tunnel")
		t.failure = failure
		switch {
		case t.parts.Add(-1) > 0:
		case t.refused == "" && t.srv.cfg.Enforcer.Roomy():
			t.end()
		default:
			concluding.Go(t)
		}
	})
	if t.pair == nil {
		return false
	}
	t.parts.Store(2)
	if o := t.opening; o != nil {
		t.pair.Overhear(func(piece []byte) bool { return t.overhear(o, piece) })
	}
	t.upstream.SetDeadline(time.Time{})
	keep(t.pair)
	if t.pair.Receive() != nil {
		keep(nil)
		t.pair = nil
		return false
	}
	t.stop = t.limit()
	defer t.part()
	if t.open() {
		t.send()
	}
	return true
}

// part is the end of a part, of which the last one ends the tunnel.
func (t *tunnel) part() {
	defer t.srv.recover("tunnel") // whose goroutine it is
	if t.parts.Add(-1) == 0 {
		t.end()
	}
}

// concluding ends tunnels whose last event has to be waited for, which is nothing for a
// loop.
var concluding = crew.New(16, func(t *tunnel) {
	defer t.srv.recover("tunnel")
	t.end()
})

// end is called once, when nobody carries the tunnel any more.
func (t *tunnel) end() {
	t.stop()
	t.sent += t.pair.Sent.Load()
	t.received += t.pair.Received.Load()
	t.conclude(t.failure)
}

// run carries until both directions have ended and returns the upstream's failure,
// if that ended it. The calling goroutine carries one of them. Neither buffers nor
// pipes are held while nothing flows.
func (t *tunnel) run() error {
	t.upstream.SetDeadline(time.Time{})
	stop := t.limit()
	defer stop()
	result := make(chan error, 1)
	go func() {
		defer t.srv.recover("tunnel")
		n, err := int64(0), error(net.ErrClosed)
		defer func() {
			if err != nil {
				t.broke(err, false)
			}
			t.received += n
			result <- err
		}()
		n, err = t.carry(t.client, t.overheard())
	}()
	if t.open() && t.attend() {
		n, _ := t.carry(t.upstream, t.client)
		t.sent += n
	}
	<-result
	return t.failure
}

// carry moves everything from src to dst and passes the end on.
func (t *tunnel) carry(dst net.Conn, src io.Reader) (int64, error) {
	n, err := copyAll(dst, src, &t.moved)
	if err == nil {
		// The second end needs no word of its own: closing both follows.
		if !t.ended.Swap(true) && !closeWrite(dst) {
			err = net.ErrClosed // can't be half-closed
		}
	}
	if err != nil {
		var w *writeError
		t.broke(err, errors.As(err, &w) == (dst == t.client))
	}
	return n, err
}

// broke ends the tunnel. The client may leave as it likes; and one direction that
// fails after the other's end is how most tunnels end, since closing a connection
// with something unread in it resets it.
func (t *tunnel) broke(err error, byClient bool) {
	if t.pair != nil {
		t.pair.Cut(err) // whoever tells it first
		return
	}
	t.first.Do(func() {
		if !byClient && !t.ended.Load() {
			t.failure = err
		}
	})
	t.abort()
}

// writeError marks the failure of the side that is written to.
type writeError struct{ error }

func (e *writeError) Unwrap() error { return e.error }

func (t *tunnel) abort() {
	if t.pair != nil {
		t.pair.Cut(nil)
		return
	}
	if t.gently.Load() && t.expired.Load() == 0 {
		for _, nc := range []net.Conn{t.client, t.upstream} {
			nc.SetReadDeadline(past)
			nc.SetWriteDeadline(time.Now().Add(lingerTime))
		}
		return
	}
	under(t.client).Close()
	under(t.upstream).Close()
}

// limit starts the timers of the tunnel and returns what stops them.
func (t *tunnel) limit() (stop func()) {
	var timers []*time.Timer
	if d := t.srv.cfg.SessionMax; d > 0 {
		timers = append(timers, time.AfterFunc(d, func() { t.expire(expiredSession) }))
	}
	if d := t.srv.cfg.StreamIdle; d > 0 {
		var mu sync.Mutex // the timer's function may run before timer is set
		mu.Lock()
		var timer *time.Timer
		timer = time.AfterFunc(d, func() {
			mu.Lock()
			defer mu.Unlock()
			if n := t.progress(); n != t.seen {
				t.seen = n
				timer.Reset(d)
				return
			}
			t.expire(expiredIdle)
		})
		mu.Unlock()
		timers = append(timers, timer)
	}
	return func() {
		for _, timer := range timers {
			timer.Stop()
		}
	}
}

func (t *tunnel) expire(why int32) {
	t.expired.CompareAndSwap(0, why)
	t.abort()
}

const copySize = 32 << 10

var copyPool = sync.Pool{New: func() any { return new([copySize]byte) }}

// copyAll carries one direction; it holds one buffer.
func copyAll(dst io.Writer, src io.Reader, moved *atomic.Int64) (n int64, err error) {
	buf := copyPool.Get().(*[copySize]byte)
	defer copyPool.Put(buf)
	for {
		m, err := src.Read(buf[:])
		if m > 0 {
			w, werr := dst.Write(buf[:m])
			n += int64(w)
			moved.Add(int64(w))
			if werr != nil {
				return n, &writeError{werr}
			}
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
