package proxy

import (
	"io"
	"net"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// spliceFrom is the size of a read from which on the kernel moves the bytes:
	// for small pieces a plain read and write is cheaper.
	spliceFrom = copySize / 2
	spliceMax  = 1 << 20
)

// move carries src to dst until src ends; moved grows with every piece. Between
// plain TCP connections, large pieces are spliced in the kernel, and nothing but
// the goroutine's stack is held while src is silent.
func move(dst, src net.Conn, moved *atomic.Int64) (int64, error) {
	if m := newMover(dst, src); m != nil {
		return m.run(moved)
	}
	return copyAll(dst, src, moved)
}

// newMover returns nil when a side is no plain TCP connection. Its frame must not
// stay under an idle tunnel.
//
//go:noinline
func newMover(dst, src net.Conn) *mover {
	d, ok := dst.(*net.TCPConn)
	s, ok2 := src.(*net.TCPConn)
	if !ok || !ok2 {
		return nil
	}
	out, err := d.SyscallConn()
	if err != nil {
		return nil
	}
	in, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	m := &mover{dst: d, in: in, out: out}
	m.readable, m.writable = m.take, m.drain
	return m
}

// mover is one direction of a tunnel. Its buffer or pipe belongs to it from a
// read that found something to the end of the write of it.
type mover struct {
	dst                *net.TCPConn
	in, out            syscall.RawConn
	readable, writable func(fd uintptr) bool
	splice             bool // the last piece was large
	buf                *[copySize]byte
	pipe               *pipe
	n, left            int
	err                error
}

func (m *mover) run(moved *atomic.Int64) (total int64, err error) {
	defer m.drop()
	for {
		if err := m.in.Read(m.readable); err != nil {
			return total, err
		}
		if m.err != nil || m.n == 0 {
			return total, m.err
		}
		n := m.n
		if err := m.give(); err != nil {
			return total, &writeError{err}
		}
		total += int64(n)
		moved.Add(int64(n))
		m.splice = n >= spliceFrom
	}
}

// take is called when src may be readable; false waits until it is.
func (m *mover) take(fd uintptr) bool {
	for {
		if m.splice && m.pipe == nil {
			m.pipe = takePipe()
		}
		if m.pipe != nil {
			m.n, m.err = m.pipe.fill(int(fd))
		} else {
			if m.buf == nil {
				m.buf = copyPool.Get().(*[copySize]byte)
			}
			m.n, m.err = unix.Read(int(fd), m.buf[:])
		}
		switch m.err {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			m.drop()
			return false
		}
		m.n = max(m.n, 0)
		return true
	}
}

// give writes what take found.
func (m *mover) give() error {
	if m.pipe == nil {
		_, err := m.dst.Write(m.buf[:m.n])
		return err
	}
	m.left = m.n
	for m.left > 0 {
		if err := m.out.Write(m.writable); err != nil {
			m.pipe.spoiled = true
			return err
		}
		if m.err != nil {
			m.pipe.spoiled = true
			return m.err
		}
	}
	if m.n < spliceFrom {
		m.drop()
	}
	return nil
}

// drain is called when dst may be writable; false waits until it is.
func (m *mover) drain(fd uintptr) bool {
	for m.left > 0 {
		n, err := m.pipe.empty(int(fd), m.left)
		if n > 0 {
			m.left -= n
			continue
		}
		switch err {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		case nil:
			err = io.ErrShortWrite
		}
		m.err = err
		return true
	}
	return true
}

// drop gives buffer and pipe back.
func (m *mover) drop() {
	if m.buf != nil {
		copyPool.Put(m.buf)
		m.buf = nil
	}
	if m.pipe != nil {
		m.pipe.release()
		m.pipe = nil
	}
}
