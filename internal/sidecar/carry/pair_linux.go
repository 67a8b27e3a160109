package carry

import (
	"errors"
	"net"
	"sync"

	"golang.org/x/sys/unix"

	"firma/internal/sidecar/allowance"
	"firma/internal/sidecar/crew"
	"firma/internal/sidecar/sock"
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
	done func(failure error)

	mu    sync.Mutex // held for a few system calls that don't block
	ends  [2]end
	flows [2]flow // flows[client] is from the client
	begun bool    // Receive has succeeded
	turn  bool    // the loop has its turn, and calls done after it
	once  bool    // one flow has come to its end in order
	over  bool
	fault error // why the upstream ended it
}

// end is one of the sockets.
type end struct {
	conn   *sock.Conn
	told   bool // what happens to it is an event
	queued bool // it has a turn coming
	gone   bool // its peer sends no more, or it failed

	// urgent: its peer has sent urgent data. A read stops there, and a splice takes
	// it for nothing, or for the end.
	urgent bool
	// local: a unix socket. A read stops where descriptors are passed.
	local bool
}

// operation does something with the descriptor of an end.
type operation func(p *Pair, at, fd int) error

// New returns what carries between two connections, or nil when they are no sockets
// that event loops watch. done is called once, when all is over: with the upstream's
// failure, if that ended it. An event loop may call it, so it must not wait, nor panic.
// From Receive to then the connections are closed by Cut and by nothing else.
// What an end has not taken is held within memory, or the pair ends with ErrNoRoom.
func New(cl, up net.Conn, memory *allowance.Bytes, done func(failure error)) *Pair {
	from, watched := cl.(*sock.Conn)
	to, too := up.(*sock.Conn)
	if !watched || !too {
		return nil
	}
	p := &Pair{done: done}
	p.ends[client].conn, p.ends[upstream].conn = from, to
	for i := range p.flows {
		p.ends[i].local = p.ends[i].conn.Local()
		p.flows[i].held = memory.Claim()
	}
	return p
}

// Receive starts carrying what the upstream sends. On an error nothing is carried,
// and done is never called.
func (p *Pair) Receive() (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return net.ErrClosed
	}
	p.flows[upstream].on, p.begun = true, true
	p.ends[upstream].told = true
	if err = p.ends[upstream].conn.Give(p, upstream); err != nil {
		p.over = true
	}
	return err
}

// Overhear has look see what the upstream sends, piece by piece and before the
// client gets it, until look returns false; nil is the upstream's end. It is to be
// called before Receive. look runs in an event loop, under the pair's lock: it must
// neither block nor call the pair.
func (p *Pair) Overhear(look func(piece []byte) bool) { p.flows[upstream].look = look }

// Send starts carrying what the client sends, too, all that was not read yet.
// Receive must have been called; until Send the client's side is the caller's to
// read, and the upstream's to write.
func (p *Pair) Send() { p.SendIf(nil) }

// SendIf is Send, but first is asked when there is something to read, or the end.
// If it returns false the two sides are the caller's again, as before Send. It is
// called as Overhear's look is.
func (p *Pair) SendIf(first func() bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	f := &p.flows[client]
	f.on, f.ready, f.first = true, false, first
	p.ends[client].told = true
	if err := p.ends[client].conn.Give(p, client); err != nil {
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

// do runs op with the descriptor of an end, which stays open meanwhile. p.mu is held.
func (p *Pair) do(at int, op operation) error {
	c := p.ends[at].conn
	fd, ok := c.Use()
	if !ok {
		return net.ErrClosed
	}
	defer c.Done()
	return op(p, at, fd)
}

// Event implements sock.Taker.
func (p *Pair) Event(at int, events uint32) (turn bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := &p.ends[at]
	if events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		e.gone = true
	}
	if events&unix.EPOLLPRI != 0 {
		e.urgent = true
	}
	if events&^unix.EPOLLOUT != 0 {
		p.flows[at].ready = true
	}
	turn = !e.queued
	e.queued = true
	return turn
}

// Turn implements sock.Taker: it carries what there is, up to a bound.
func (p *Pair) Turn(at int, buf *sock.Buffer) (more bool) {
	more, over := p.hasTurn(at, buf)
	if over {
		p.done(p.fault)
	}
	return more
}

// hasTurn reports whether it ended the pair, so that done is to be called.
func (p *Pair) hasTurn(at int, buf *sock.Buffer) (more, over bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.over
	p.turn = true
	defer func() {
		if recover() != nil && !p.over { // one pair, not all
			p.end(errors.New("carry: panic"))
		}
		more = more && !p.over
		p.ends[at].queued = more
		p.turn = false
		over = p.over && !before && p.begun
	}()
	for from := client; from <= upstream && !p.over; from++ {
		more = p.pump(from, buf) || more
	}
	return more, false
}

// end closes everything. It is called once. Whoever calls it out of turn may hold locks.
func (p *Pair) end(failure error) {
	p.over = true
	for i := range p.ends {
		p.flows[i].drop()
		p.flows[i].rest = nil
		p.flows[i].held.Release()
		p.ends[i].conn.Close()
	}
	p.fault = failure
	if p.begun && !p.turn {
		finishing.Go(p)
	}
}

// finishing tells of pairs that were ended out of turn.
var finishing = crew.New(16, func(p *Pair) { p.done(p.fault) })

// broke ends the pair after a failure of one end. The client may leave as it likes;
// and one direction that fails after the other's end is how most tunnels end, since
// closing a connection with something unread in it resets it.
func (p *Pair) broke(at int, err error) {
	if at == client || p.once {
		err = nil
	}
	p.end(err)
}
