package hook

import (
	"errors"
	"io"
	"net"
	"sync"

	"connectrpc.com/connect"

	"firma/internal/sidecar/allowance"
)

// errFull and errEnding answer questions that were not looked at. A caller that
// gets an error has no permission.
var (
	errFull   = connect.NewError(connect.CodeResourceExhausted, errors.New("too many questions at once, or too much in them"))
	errEnding = connect.NewError(connect.CodeUnavailable, errors.New("the Sidecar is being stopped"))
	errLarge  = connect.NewError(connect.CodeResourceExhausted, errors.New("the question is larger than 4.25 MiB"))
)

// room bounds how many questions are under way. It is safe for concurrent use.
type room struct {
	questions int

	mu     sync.Mutex
	inside int // questions
	ending bool
	empty  sync.Cond // inside is 0
}

func newRoom(questions int) *room {
	r := &room{questions: questions}
	r.empty.L = &r.mu
	return r
}

// enter takes a question in until leave is called.
func (r *room) enter() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.ending:
		return errEnding
	case r.inside >= r.questions:
		return errFull
	}
	r.inside++
	return nil
}

// leave ends a question.
func (r *room) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inside--; r.inside == 0 {
		r.empty.Broadcast()
	}
}

// close lets nobody in any more and waits for those under way: what is decided is
// decided while its session is open.
func (r *room) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ending = true
	for r.inside > 0 {
		r.empty.Wait()
	}
}

// body is one question as it is read.
type body struct {
	io.ReadCloser
	held allowance.Claim // of what the session may hold
	read int             // bytes
	full bool            // others hold what there is
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.read > maxMessage+prefix {
		return 0, errLarge
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), maxRead)])
	b.read += n
	if !b.held.Hold(b.read) {
		b.full = true
		return 0, errFull
	}
	return n, err
}

const (
	prefix  = 5        // bytes before a message of gRPC
	maxRead = 64 << 10 // bytes held that are not accounted for yet, of each question
)

// bounded is a listener that has at most a number of connections open; further
// ones wait to be accepted.
type bounded struct {
	net.Listener
	slots chan struct{} // one in it for each connection
	done  chan struct{}
	once  sync.Once
	open  func(int) // told of each that begins and ends
}

func newBounded(ln net.Listener, most int, open func(int)) *bounded {
	return &bounded{Listener: ln, slots: make(chan struct{}, most), done: make(chan struct{}), open: open}
}

// Accept implements net.Listener.
func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.slots <- struct{}{}:
	case <-b.done:
		return nil, net.ErrClosed
	}
	nc, err := b.Listener.Accept()
	if err != nil {
		<-b.slots
		return nil, err
	}
	b.open(1)
	return &counted{Conn: nc, ended: sync.OnceFunc(func() { b.open(-1); <-b.slots })}, nil
}

// Close implements net.Listener.
func (b *bounded) Close() error {
	b.once.Do(func() { close(b.done) })
	return b.Listener.Close()
}

type counted struct {
	net.Conn
	ended func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	defer c.ended()
	return c.Conn.Close()
}
