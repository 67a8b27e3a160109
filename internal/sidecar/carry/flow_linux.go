package carry

import (
	"io"
	"net"
	"slices"

	"golang.org/x/sys/unix"

	"firma/internal/sidecar/allowance"
	"firma/internal/sidecar/sock"
)

const (
	size = len(sock.Buffer{})
	// spliceFrom is the size of a piece from which on the kernel moves the bytes:
	// for small ones a plain read and write is cheaper.
	spliceFrom = size / 2
	spliceMax  = 1 << 20
	// turns is how many pieces a direction may carry before others have their turn.
	turns = 8
)

// flow is one direction. It is guarded by the pair's lock.
type flow struct {
	on    bool // it has been started
	ready bool // its source may have something
	eof   bool // its source has ended
	ended bool // and that was passed on
	bulk  bool // the last piece was large
	rest  []byte
	pipe  *pipe
	left  int               // bytes in pipe
	n     int               // of the last operation
	held  allowance.Claim   // for rest
	look  func([]byte) bool // see Overhear
	first func() bool       // see SendIf
}

// pump carries one direction until there is nothing to read or no room to write;
// true if its turn ended before.
func (p *Pair) pump(from int, buf *sock.Buffer) bool {
	f := &p.flows[from]
	for i := range turns {
		switch {
		case !f.on || f.ended || !p.flush(from):
			return false
		case f.eof:
			p.pass(from)
			return false
		case !f.ready:
			// While much flows there is soon more: looking again costs less than waiting.
			return f.bulk && i > 0
		case f.first != nil && !p.ask(from):
			return false
		case f.bulk && f.look == nil && !p.ends[from].urgent && f.hasPipe():
			p.splice(from)
		default:
			p.copy(from, buf)
		}
		if p.over {
			return false
		}
	}
	return true
}

// copy reads a piece into buf and writes it.
func (p *Pair) copy(from int, buf *sock.Buffer) {
	f := &p.flows[from]
	f.rest = buf[:]
	err := p.do(from, read)
	f.rest = nil
	if !p.took(from, err) {
		return
	}
	// A read that did not fill the buffer took everything (epoll(7)); what comes
	// now is a new event. But the end may have been announced already, and a read
	// stops at urgent data and at descriptors.
	if e := &p.ends[from]; f.n < size && !e.gone && !e.urgent && !e.local {
		f.ready = false
	}
	f.bulk = f.n >= spliceFrom
	f.rest = buf[:f.n]
	if f.look != nil && !f.look(f.rest) {
		f.look = nil
	}
	if !p.flush(from) && !p.over {
		p.save(from)
	}
}

// ask reports whether a direction may be carried on; if not, it is the caller's of
// SendIf now.
func (p *Pair) ask(from int) bool {
	f := &p.flows[from]
	may := f.first()
	if f.first = nil; may {
		return true
	}
	f.on = false
	return false
}

// save keeps what is left of a piece, whose buffer is for others now.
func (p *Pair) save(from int) {
	f := &p.flows[from]
	if !f.held.Hold(len(f.rest)) {
		p.end(ErrNoRoom)
		return
	}
	f.rest = slices.Clone(f.rest)
}

// splice reads a piece into the pipe. Whoever pumps writes it.
func (p *Pair) splice(from int) {
	f := &p.flows[from]
	switch err := p.do(from, fill); {
	case err == nil && f.n == 0: // the end, or urgent data before it: a read can tell
		f.bulk = false
		f.drop()
	case p.took(from, err):
		f.left = f.n
		f.bulk = f.n >= spliceFrom
	}
}

// took judges a read; true if it found something.
func (p *Pair) took(from int, err error) bool {
	f := &p.flows[from]
	switch {
	case err == unix.EAGAIN:
		f.ready = false
		f.drop()
	case err != nil:
		p.broke(from, err)
	case f.n == 0:
		f.eof = true
		f.drop()
		if f.look != nil {
			f.look(nil)
			f.look = nil
		}
	default:
		return true
	}
	return false
}

// flush writes what was read; false if some of it is left, or the pair is over.
func (p *Pair) flush(from int) bool {
	f, to := &p.flows[from], 1-from
	for len(f.rest) > 0 || f.left > 0 {
		op := write
		if f.left > 0 && len(f.rest) == 0 {
			op = empty
		}
		err := p.do(to, op)
		if e := &p.ends[to]; err == unix.EAGAIN {
			if e.told { // the next room is an event
				return false
			}
			if e.told, err = true, e.conn.Tell(p, to); err == nil {
				return false
			}
		}
		if err == nil && f.n <= 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			p.broke(to, err)
			return false
		}
		if len(f.rest) > 0 {
			f.rest = f.rest[f.n:]
		} else {
			f.left -= f.n
		}
		p.count(from, int64(f.n))
	}
	if f.rest = nil; f.held.Held() > 0 {
		f.held.Release()
	}
	if !f.bulk {
		f.drop()
	}
	return true
}

func (p *Pair) count(from int, n int64) {
	if from == client {
		p.Sent.Add(n)
	} else {
		p.Received.Add(n)
	}
}

// pass passes the end of a direction on. The second end needs no word of its own:
// closing both follows.
func (p *Pair) pass(from int) {
	p.flows[from].ended = true
	if p.once {
		p.end(nil)
		return
	}
	if err := p.do(1-from, shut); err != nil {
		p.broke(1-from, net.ErrClosed)
		return
	}
	p.once = true
}

// hasPipe takes a pipe if there is one to be had.
func (f *flow) hasPipe() bool {
	if f.pipe == nil {
		f.pipe = takePipe()
	}
	return f.pipe != nil
}

// drop gives the pipe back.
func (f *flow) drop() {
	if f.pipe != nil {
		f.pipe.spoiled = f.left > 0
		f.pipe.release()
		f.pipe, f.left = nil, 0
	}
}

func read(p *Pair, at, fd int) (err error) {
	f := &p.flows[at]
	f.n, err = sock.Recv(fd, f.rest)
	return err
}

func fill(p *Pair, at, fd int) (err error) {
	f := &p.flows[at]
	f.n, err = f.pipe.fill(fd)
	return err
}

func write(p *Pair, at, fd int) (err error) {
	f := &p.flows[1-at]
	f.n, err = sock.Send(fd, f.rest)
	return err
}

func empty(p *Pair, at, fd int) (err error) {
	f := &p.flows[1-at]
	f.n, err = f.pipe.empty(fd, f.left)
	return err
}

func shut(_ *Pair, _, fd int) error { return sock.ShutWrite(fd) }
