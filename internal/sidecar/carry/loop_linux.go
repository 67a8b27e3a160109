package carry

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxLoops bounds the event loops of the process.
const maxLoops = 4

// loop serves pairs by one goroutine. Its epoll descriptor is itself watched by
// the runtime's, so that no thread is spent on waiting.
type loop struct {
	file *os.File // owns the epoll descriptor
	raw  syscall.RawConn
	fd   int

	mu    sync.Mutex
	pairs []place
	free  []int32
}

// place is where a loop keeps a pair.
type place struct {
	pair *Pair
	gen  int32 // grows when the place is given away, so that late events go nowhere
}

// slot names a place.
type slot struct{ index, gen int32 }

// loops are those of the process.
var loops struct {
	mu   sync.Mutex
	all  []*loop
	next int
}

// pick returns the loop for another pair. A loop that can't be made, since
// descriptors ran out, is tried again with the next pair.
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

// add gives p a place; nothing is watched yet.
func (l *loop) add(p *Pair) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.free); n > 0 {
		p.slot.index, l.free = l.free[n-1], l.free[:n-1]
	} else {
		p.slot.index = int32(len(l.pairs))
		l.pairs = append(l.pairs, place{})
	}
	at := &l.pairs[p.slot.index]
	at.pair, p.slot.gen = p, at.gen
}

// watch has epoll report events of an end, by edges.
func (l *loop) watch(s slot, at, fd int, events uint32) error {
	e := unix.EpollEvent{Events: events | unix.EPOLLPRI | unix.EPOLLRDHUP | unix.EPOLLET&(1<<32-1), Fd: s.index<<1 | int32(at), Pad: s.gen}
	err := unix.EpollCtl(l.fd, unix.EPOLL_CTL_ADD, fd, &e)
	if err == unix.EEXIST {
		err = unix.EpollCtl(l.fd, unix.EPOLL_CTL_MOD, fd, &e)
	}
	return os.NewSyscallError("epoll_ctl", err)
}

// remove forgets p. Closing its descriptors ended the watch of them.
func (l *loop) remove(p *Pair) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := &l.pairs[p.slot.index]; at.pair == p {
		at.pair = nil
		at.gen++
		l.free = append(l.free, p.slot.index)
	}
}

func (l *loop) find(e *unix.EpollEvent) *Pair {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := e.Fd >> 1; int(i) < len(l.pairs) && l.pairs[i].gen == e.Pad {
		return l.pairs[i].pair
	}
	return nil
}

func (l *loop) run() {
	var (
		events [128]unix.EpollEvent
		buf    buffer
		turn   []*Pair
		busy   []*Pair // more to carry than their turn allowed
	)
	for {
		n := l.wait(events[:], len(busy) == 0)
		turn, busy = append(turn[:0], busy...), busy[:0]
		for i := range events[:n] {
			e := &events[i]
			p := l.find(e)
			if p == nil {
				continue
			}
			p.happened(int(e.Fd&1), e.Events)
			if !p.queued {
				p.queued = true
				turn = append(turn, p)
			}
		}
		for i, p := range turn {
			turn[i] = nil
			if p.queued = p.step(&buf); p.queued {
				busy = append(busy, p)
			}
		}
		if len(busy) > 0 {
			runtime.Gosched()
		}
	}
}

// wait returns how many events there are; it waits for one if it may. That it
// fails is a mistake of ours: nothing could be carried any more.
func (l *loop) wait(events []unix.EpollEvent, may bool) (n int) {
	var err error
	look := func(fd uintptr) bool {
		for {
			if n, err = rawEpollWait(int(fd), events); err != unix.EINTR {
				return n != 0 || err != nil
			}
		}
	}
	via := l.raw.Read
	if !may {
		via = func(f func(uintptr) bool) error { return l.raw.Control(func(fd uintptr) { f(fd) }) }
	}
	if failed := via(look); failed != nil || err != nil {
		panic(errors.Join(errors.New("carry: epoll_wait"), failed, err))
	}
	return n
}
