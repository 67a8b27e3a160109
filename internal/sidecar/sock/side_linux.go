package sock

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// side is one direction of a connection as its user sees it.
type side struct {
	turn  sync.Mutex   // one operation at a time
	until atomic.Int64 // the deadline, after start; 0 for none

	// Guarded by the connection's lock, which is wake's, too.
	wake  sync.Cond
	ready bool        // something happened since it was last waited for
	timer *time.Timer // wakes at due, or is not running if that is 0
	due   int64
}

// start is what deadlines are counted from: a clock that nobody sets.
var start = time.Now()

// since returns t as a deadline.
func since(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	d := int64(t.Sub(start))
	if d == 0 {
		d = -1
	}
	return d
}

func (s *side) expired() bool {
	t := s.until.Load()
	return t != 0 && t <= int64(time.Since(start))
}

// begin is the first step of an operation; without an error, end must follow.
func (c *Conn) begin(s *side) error {
	if !c.enter() {
		return net.ErrClosed
	}
	if s.expired() {
		c.end()
		return os.ErrDeadlineExceeded
	}
	return nil
}

// wait returns when the operation that would have blocked may be tried again.
func (c *Conn) wait(s *side) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.isShut():
			return net.ErrClosed
		case s.ready:
			s.ready = false
			return nil
		case s.expired():
			return os.ErrDeadlineExceeded
		}
		if err := c.watch(); err != nil {
			return err
		}
		s.alarm()
		s.wake.Wait()
	}
}

// AwaitRead returns when there is probably something to read, or the end: what would be
// read into need not be held until then. It is an error if a Read would have been one
// that waited, such as a deadline that has passed.
func (c *Conn) AwaitRead() error {
	c.in.turn.Lock()
	defer c.in.turn.Unlock()
	if err := c.begin(&c.in); err != nil {
		return c.failed("read", err)
	}
	defer c.end()
	c.mu.Lock()
	at := c.seen != 0
	c.mu.Unlock()
	if at || c.more && unread(c.fd) {
		return nil
	}
	if err := c.wait(&c.in); err != nil {
		return c.failed("read", err)
	}
	c.more = true // until it is read
	return nil
}

// alarm sees to it that who waits is woken at the deadline. A timer that runs out
// early is set again by whoever waits then: most deadlines are moved before they come.
func (s *side) alarm() {
	t := s.until.Load()
	if t == 0 || s.due != 0 && s.due <= t {
		return
	}
	s.due = t
	d := time.Duration(t) - time.Since(start)
	if s.timer != nil {
		s.timer.Reset(d)
		return
	}
	s.timer = time.AfterFunc(d, func() {
		s.wake.L.Lock()
		defer s.wake.L.Unlock()
		s.due = 0
		s.wake.Broadcast()
	})
}

func (s *side) stop() {
	if s.timer != nil {
		s.timer.Stop()
	}
}
