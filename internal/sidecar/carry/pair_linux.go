package carry

import (
	"errors"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"firma/internal/sidecar/allowance"
)

// The two ends of a pair, and what flows from each.
const (
	client = iota
	upstream
)

// Pair carries between two sockets. An end of one direction is passed on and the
// other goes on; a failure ends both. Its methods are safe for concurrent use.
type Pair struct {
	Tally
	done   func(failure error)
	loop   *loop
	slot   slot
	queued bool // the loop's: it has a turn coming

	mu    sync.Mutex // held for a few system calls that don't block
	ends  [2]end
	flows [2]flow // flows[client] is from the client
	once  bool    // one flow has come to its end in order
	over  bool
	fault error // why the upstream ended it
}

// end is one of the sockets.
type end struct {
	conn  Socket
	raw   syscall.RawConn
	call  func(fd uintptr) // runs op; made once, since each would be allocated
	op    operation
	watch uint32 // what epoll reports of it; 0: nothing yet
	gone  bool   // its peer sends no more, or it failed
	err   error  // of the last operation

	// urgent: its peer has sent urgent data. A read stops there, and a splice takes
	// it for nothing, or for the end.
	urgent bool
}

// operation does something with the descriptor of an end.
type operation func(p *Pair, at, fd int) error

// New returns what carries between two connections, or nil when they are no plain
// sockets. done is called once, in a goroutine of its own, when all is over: with
// the upstream's failure, if that ended it. From Receive to then the connections
// are closed by Cut and by nothing else.
// What an end has not taken is held within memory, or the pair ends with ErrNoRoom.
func New(cl, up net.Conn, memory *allowance.Bytes, done func(failure error)) *Pair {
	p := &Pair{done: done}
	for i := range p.flows {
		p.flows[i].held = memory.Claim()
	}
	for i, c := range [...]net.Conn{cl, up} {
		s, ok := socket(c)
		if !ok {
			return nil
		}
		raw, err := s.(syscall.Conn).SyscallConn()
		if err != nil {
			return nil
		}
		e := &p.ends[i]
		e.conn, e.raw = s, raw
		e.call = func(fd uintptr) { e.err = e.op(p, i, int(fd)) }
	}
	return p
}

// Receive starts carrying what the upstream sends. On an error nothing is carried,
// and done is never called.
func (p *Pair) Receive() (err error) {
	l, err := pick()
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return net.ErrClosed
	}
	p.loop = l
	l.add(p)
	p.flows[upstream].on = true
	if err = p.arm(upstream, unix.EPOLLIN); err != nil {
		p.over = true
		p.loop.remove(p)
	}
	return err
}

// Send starts carrying what the client sends, too, all that was not read yet.
// Receive must have been called; until Send the client's side is the caller's to
// read, and the upstream's to write.
func (p *Pair) Send() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	p.flows[client].on = true
	if err := p.arm(client, unix.EPOLLIN); err != nil {
		p.end(err)
	}
}

// Cut ends the pair at once, with failure as the reason, unless one direction has
// come to its end in order. It closes the connections; done is called soon after.
// Before Receive it only keeps that from starting.
func (p *Pair) Cut(failure error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	if p.once {
		failure = nil
	}
	p.end(failure)
}

// arm has epoll report events of an end, besides those it reports already; what
// is the case now is reported, too. p.mu is held, as for all that follows.
func (p *Pair) arm(at int, events uint32) error {
	e := &p.ends[at]
	if e.watch&events == events {
		return nil
	}
	e.watch |= events
	return p.do(at, arm)
}

func arm(p *Pair, at, fd int) error { return p.loop.watch(p.slot, at, fd, p.ends[at].watch) }

// do runs op with the descriptor of an end, which stays open meanwhile.
func (p *Pair) do(at int, op operation) error {
	e := &p.ends[at]
	e.op = op
	if err := e.raw.Control(e.call); err != nil {
		return err
	}
	return e.err
}

// happened notes what epoll reported of an end. It locks p.mu.
func (p *Pair) happened(at int, events uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		p.ends[at].gone = true
	}
	if events&unix.EPOLLPRI != 0 {
		p.ends[at].urgent = true
	}
	if events&^unix.EPOLLOUT != 0 {
		p.flows[at].ready = true
	}
}

// step carries what there is, up to a bound; true if there is more. It locks p.mu.
func (p *Pair) step(buf *buffer) (more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return false
	}
	defer func() {
		if recover() != nil { // one pair, not all
			p.end(errors.New("carry: panic"))
			more = false
		}
	}()
	more = p.pump(client, buf)
	if !p.over {
		more = p.pump(upstream, buf) || more
	}
	return more && !p.over
}

// finish follows end. It is nothing for a loop, which others wait for: what is done
// at the end of a pair may wait for a disk.
func (p *Pair) finish() {
	p.loop.remove(p)
	p.done(p.fault)
}

// end closes everything. It is called once.
func (p *Pair) end(failure error) {
	p.over, p.fault = true, failure
	for i := range p.ends {
		p.flows[i].drop()
		p.flows[i].rest = nil
		p.flows[i].held.Release()
		p.ends[i].conn.Close()
	}
	if p.loop != nil {
		go p.finish()
	}
}

// broke ends the pair after a failure of one end. The client may leave as it likes;
// and one direction that fails after the other's end is how most tunnels end, since
// closing a connection with something unread in it resets it.
func (p *Pair) broke(at int, err error) {
	if at == client || p.once {
		err = nil
	}
	p.end(err)
}
