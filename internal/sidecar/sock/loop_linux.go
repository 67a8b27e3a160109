package sock

import (
	"errors"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxLoops bounds the event loops of the process.
const maxLoops = 4

// Buffer is lent to whoever has its turn in a loop.
type Buffer [32 << 10]byte

// Taker is told what happens to a connection that was given to it, and has turns in the
// connection's loop, which others wait for: it must not block. at is what was passed to
// Give.
type Taker interface {
	// Event notes what epoll(7) reported; true asks for a turn.
	Event(at int, events uint32) (turn bool)
	// Turn does what is to be done; true asks for another turn, after others'.
	Turn(at int, buf *Buffer) (more bool)
}

// loop watches connections by one goroutine. Its epoll descriptor is itself watched by
// the runtime's, so that no thread is spent on waiting.
type loop struct {
	file *os.File // owns the epoll descriptor
	raw  syscall.RawConn
	fd   int

	mu    sync.Mutex
	conns []holder
	free  []int32
}

// holder is where a loop keeps a connection.
type holder struct {
	conn *Conn
	gen  int32 // grows when the place is given away, so that late events go nowhere
}

// place names a holder.
type place struct{ index, gen int32 }

// loops are those of the process.
var loops struct {
	mu   sync.Mutex
	all  []*loop
	next int
}

// pick returns the loop for another connection. A loop that can't be made, since
// descriptors ran out, is tried again with the next one.
func pick() (*loop, error) {
	loops.mu.Lock()
	defer loops.mu.Unlock()
	if len(loops.all) < min(runtime.GOMAXPROCS(0), maxLoops) {
		l, err := newLoop()
		switch {
		case err == nil:
			loops.all = append(loops.all, l)
		case len(loops.all) == 0:
			return nil, err
		}
	}
	loops.next = (loops.next + 1) % len(loops.all)
	return loops.all[loops.next], nil
}

func newLoop() (*loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or the runtime would not watch it
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	l := &loop{file: os.NewFile(uintptr(fd), "epoll"), fd: fd}
	if err = l.file.SetDeadline(time.Time{}); err == nil { // fails if it is not watched
		l.raw, err = l.file.SyscallConn()
	}
	if err != nil {
		l.file.Close()
		return nil, err
	}
	go l.run()
	return l, nil
}

// interest is what is reported of a connection, by edges; hanging up and failures are
// in any case.
const interest = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLPRI | unix.EPOLLRDHUP | unix.EPOLLET&(1<<32-1)

// watch has a loop report what happens to c, and what is the case now. c.mu is held.
func (c *Conn) watch() error {
	if c.loop != nil {
		return nil
	}
	l, err := pick()
	if err != nil {
		return err
	}
	c.loop, c.place = l, l.add(c)
	if err := c.control(unix.EPOLL_CTL_ADD); err != nil {
		l.remove(c.place)
		c.loop = nil
		return err
	}
	return nil
}

func (c *Conn) control(op int) error {
	e := unix.EpollEvent{Events: interest, Fd: c.place.index, Pad: c.place.gen}
	return epollCtl(c.loop.fd, op, c.fd, &e)
}

// Give has t told of what happens to c from now on, and of what has happened and
// nobody has read yet. Nobody may read from c meanwhile, and then only in agreement with
// t; what is written may wait as before. It is not taken back, unless there is an error.
func (c *Conn) Give(t Taker, at int) error {
	if !c.enter() {
		return c.failed("give", net.ErrClosed)
	}
	defer c.end()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taker, c.at = t, at
	var err error
	switch {
	case c.loop == nil:
		err = c.watch()
	case c.in.ready || c.more || c.seen != 0:
		err = c.control(unix.EPOLL_CTL_MOD) // reports again
	}
	if err != nil {
		c.taker = nil // it is still its user's, who may wait for it
	}
	return err
}

// Tell has t told of what happens to c from now on, and that there is room to write if
// there is. It is read as before, until it is given.
func (c *Conn) Tell(t Taker, at int) error {
	if !c.enter() {
		return c.failed("tell", net.ErrClosed)
	}
	defer c.end()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taker, c.at = t, at
	if c.loop == nil {
		return c.watch()
	}
	return c.control(unix.EPOLL_CTL_MOD)
}

const (
	lasting  = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR | unix.EPOLLPRI
	readable = unix.EPOLLIN | lasting
	writable = unix.EPOLLOUT | unix.EPOLLHUP | unix.EPOLLERR
)

// happened notes what epoll reported, and returns who wants a turn for it.
func (c *Conn) happened(events uint32) (Taker, int) {
	t, at := c.note(events)
	if t == nil || !t.Event(at, events) { // which has a lock of its own
		return nil, 0
	}
	return t, at
}

func (c *Conn) note(events uint32) (Taker, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen |= events & lasting
	if events&readable != 0 {
		c.in.ready = true
		c.in.wake.Broadcast()
	}
	if events&writable != 0 {
		c.out.ready = true
		c.out.wake.Broadcast()
	}
	return c.taker, c.at
}

// add gives c a place.
func (l *loop) add(c *Conn) place {
	l.mu.Lock()
	defer l.mu.Unlock()
	var i int32
	if n := len(l.free); n > 0 {
		i, l.free = l.free[n-1], l.free[:n-1]
	} else {
		i = int32(len(l.conns))
		l.conns = append(l.conns, holder{})
	}
	l.conns[i].conn = c
	return place{i, l.conns[i].gen}
}

// remove takes the place back.
func (l *loop) remove(p place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := &l.conns[p.index]
	h.conn = nil
	h.gen++
	l.free = append(l.free, p.index)
}

func (l *loop) find(e *unix.EpollEvent) *Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := e.Fd; int(i) < len(l.conns) && l.conns[i].gen == e.Pad {
		return l.conns[i].conn
	}
	return nil
}

// turn is one that a taker has asked for.
type turn struct {
	Taker
	at int
}

func (l *loop) run() {
	var (
		events [128]unix.EpollEvent
		buf    Buffer
		turns  []turn
		busy   []turn // of those that have more to do
	)
	for {
		n := l.wait(events[:], len(busy) == 0)
		turns, busy = append(turns[:0], busy...), busy[:0]
		for i := range events[:n] {
			c := l.find(&events[i])
			if c == nil {
				continue
			}
			if t, at := c.happened(events[i].Events); t != nil {
				turns = append(turns, turn{t, at})
			}
		}
		for i, t := range turns {
			turns[i].Taker = nil
			if t.Turn(t.at, &buf) {
				busy = append(busy, t)
			}
		}
		if len(busy) > 0 {
			runtime.Gosched()
		}
	}
}

// wait returns how many events there are; it waits for one if it may. That it fails is
// a mistake of ours: nothing could be carried any more.
func (l *loop) wait(events []unix.EpollEvent, may bool) (n int) {
	var err error
	look := func(fd uintptr) bool {
		n, err = epollWait(int(fd), events)
		return n != 0 || err != nil
	}
	via := l.raw.Read
	if !may {
		via = func(f func(uintptr) bool) error { return l.raw.Control(func(fd uintptr) { f(fd) }) }
	}
	if failed := via(look); failed != nil || err != nil {
		panic(errors.Join(errors.New("sock: epoll_wait"), failed, err))
	}
	return n
}
