//go:build unix

package intake

import (
	"net"
	"sync"
)

// Queue is a listener whose connections somebody else has accepted. It is safe
// for concurrent use.
type Queue struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	addr  net.Addr
}

// NewQueue returns an empty queue.
func NewQueue() *Queue {
	return &Queue{conns: make(chan net.Conn), done: make(chan struct{}), addr: &net.UnixAddr{Name: "(handed over)", Net: "unix"}}
}

// Put hands conn to whoever accepts next; a closed queue closes it.
func (q *Queue) Put(conn net.Conn) {
	select {
	case q.conns <- conn:
	case <-q.done:
		conn.Close()
	}
}

// Accept implements net.Listener.
func (q *Queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (q *Queue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

// Addr implements net.Listener; it names no place.
func (q *Queue) Addr() net.Addr { return q.addr }
