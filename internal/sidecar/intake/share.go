//go:build unix

package intake

import (
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"
)

// Share divides a number of connections among sessions so that none starves: one
// gets another connection only while it has fewer than are still free. One
// greedy session thus leaves half of all to the others, two leave a third, and
// whoever comes last always finds some. It is safe for concurrent use.
type Share struct {
	total int

	log *slog.Logger

	mu      sync.Mutex
	sharers map[*sharer]struct{}
	closed  int       // connections, since it was last said
	said    time.Time // when that was
}

// sharer is a session: its connections come by some queues.
type sharer struct {
	queues []*Queue
	open   func() int
}

func (m *sharer) has() int {
	n := m.open()
	for _, q := range m.queues {
		n += len(q.conns)
	}
	return n
}

// sayEvery is how often a share speaks of connections that it closed: who floods it
// must not flood the log, too.
const sayEvery = 10 * time.Second

// NewShare returns a share of total connections.
func NewShare(total int, log *slog.Logger) *Share {
	return &Share{total: total, log: log, sharers: map[*sharer]struct{}{}}
}

// Join counts the queues of one session from now until they are closed; open tells
// how many of its connections were accepted and have not ended. It is called while
// others wait, so it must not put into any queue.
func (s *Share) Join(open func() int, queues ...*Queue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &sharer{open: open}
	for _, q := range queues {
		if q.join(s) {
			m.queues = append(m.queues, q)
		}
	}
	if len(m.queues) > 0 {
		s.sharers[m] = struct{}{}
	}
}

func (q *Queue) join(s *Share) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.share = s
	}
	return !q.closed
}

func (s *Share) leave(q *Queue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for m := range s.sharers {
		m.queues = slices.DeleteFunc(m.queues, func(other *Queue) bool { return other == q })
		if len(m.queues) == 0 {
			delete(s.sharers, m)
		}
	}
}

// put sends conn unless q's session has its part. Nobody waits for the log to say so
// but who puts.
func (s *Share) put(q *Queue, conn net.Conn) bool {
	ok, own, free, closed := s.try(q, conn)
	if closed > 0 {
		s.log.Warn("connections are closed at once: a session has its part of them", "closed", closed,
			"its_own", own, "free", free, "max_total_connections", s.total)
	}
	return ok
}

// try counts and sends in one step, so that no burst gets past the bound. closed is how
// many were turned away, if it is time to say that.
func (s *Share) try(q *Queue, conn net.Conn) (ok bool, own, free, closed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	free = s.total
	for m := range s.sharers {
		n := m.has()
		free -= n
		if slices.Contains(m.queues, q) {
			own = n
		}
	}
	if own < free && q.send(conn) {
		return true, own, free, 0
	}
	s.closed++
	if now := time.Now(); now.Sub(s.said) >= sayEvery {
		closed, s.closed, s.said = s.closed, 0, now
	}
	return false, own, free, closed
}
