//go:build unix

package intake

import (
	"net"
	"sync"
)

// backlog is how many connections of one queue wait to be accepted. As many as a
// burst of a busy client has, and few enough that the queue of a session that
// accepts no more holds little of what all sessions share.
const backlog = 1024

// Queue is a listener whose connections somebody else has accepted. It is safe
// for concurrent use.
type Queue struct {
	conns chan net.Conn
	done  chan struct{}
	addr  net.Addr

	mu     sync.Mutex // held while conns is sent to, and while done is closed
	closed bool
	offer  func(net.Conn) bool // nil: connections wait to be accepted
	share  *Share              // nil: counted by nobody
}

// NewQueue returns an empty queue.
func NewQueue() *Queue {
	return &Queue{conns: make(chan net.Conn, backlog), done: make(chan struct{}), addr: &net.UnixAddr{Name: "(handed over)", Net: "unix"}}
}

// Put hands conn to whoever accepts next. It never waits: who puts serves other
// queues, too. It closes conn and reports false when the queue is closed or full,
// or when it has its part of what it shares with others.
func (q *Queue) Put(conn net.Conn) bool {
	q.mu.Lock()
	share := q.share
	q.mu.Unlock()
	ok := false
	if share != nil {
		ok = share.put(q, conn)
	} else {
		ok = q.send(conn)
	}
	if !ok {
		conn.Close()
	}
	return ok
}

func (q *Queue) send(conn net.Conn) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	if q.offer != nil && len(q.conns) == 0 && q.offer(conn) {
		return true
	}
	select {
	case q.conns <- conn:
		return true
	default:
		return false
	}
}

// OfferTo has take asked first whether it takes a connection, while none waits: it need
// not be handed from one goroutine to another. take must not block; false puts the
// connection among those that wait.
func (q *Queue) OfferTo(take func(net.Conn) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.offer = take
}

// Accept implements net.Listener.
func (q *Queue) Accept() (net.Conn, error) {
	select {
	case <-q.done:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. Connections that nobody has accepted are closed.
func (q *Queue) Close() error {
	q.mu.Lock()
	share := q.share
	if !q.closed {
		q.closed = true
		close(q.done)
	}
	q.mu.Unlock()
	if share != nil {
		share.leave(q)
	}
	for {
		select {
		case c := <-q.conns:
			c.Close()
		default:
			return nil
		}
	}
}

// Addr implements net.Listener; it names no place.
func (q *Queue) Addr() net.Addr { return q.addr }
