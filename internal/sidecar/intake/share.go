//go:build unix

package intake

import (
	"log/slog"
	"net"
	"sync"
	"time"
)

// Share divides a number of connections among queues so that none starves: a
// queue gets another connection only while it has fewer than are still free. One
// greedy queue thus leaves half of all to the others, two leave a third, and
// whoever comes last always finds some. It is safe for concurrent use.
type Share struct {
	total int

	log *slog.Logger

	mu     sync.Mutex
	open   map[*Queue]func() int
	closed int       // connections, since it was last said
	said   time.Time // when that was
}

// sayEvery is how often a share speaks of connections that it closed: who floods it
// must not flood the log, too.
const sayEvery = 10 * time.Second

// NewShare returns a share of total connections.
func NewShare(total int, log *slog.Logger) *Share {
	return &Share{total: total, log: log, open: map[*Queue]func() int{}}
}

// Join counts q from now until it is closed; open tells how many of its
// connections were accepted and have not ended. It is called while others wait,
// so it must not put into any queue.
func (s *Share) Join(q *Queue, open func() int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.share, s.open[q] = s, open
}

func (s *Share) leave(q *Queue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, q)
}

// put sends conn unless q has its part. It counts and sends in one step, so that
// no burst gets past the bound.
func (s *Share) put(q *Queue, conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	free, own := s.total, 0
	for other, open := range s.open {
		n := len(other.conns) + open()
		free -= n
		if other == q {
			own = n
		}
	}
	if own < free && q.send(conn) {
		return true
	}
	s.turnAway(own, free)
	return false
}

// turnAway counts a connection that is closed. s.mu is held.
func (s *Share) turnAway(own, free int) {
	s.closed++
	if now := time.Now(); now.Sub(s.said) >= sayEvery {
		s.log.Warn("connections are closed at once: a session has its part of them", "closed", s.closed,
			"its_own", own, "free", free, "max_total_connections", s.total)
		s.closed, s.said = 0, now
	}
}
