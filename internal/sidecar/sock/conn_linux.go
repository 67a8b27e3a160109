package sock

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Conn is a stream connection. It implements net.Conn and syscall.Conn as package net's
// do; its methods are safe for concurrent use.
type Conn struct {
	guard
	fd   int
	peer netip.AddrPort // not valid: a unix socket's

	mu      sync.Mutex // guards the rest, but for the turns
	in, out side
	more    bool   // guarded by in's turn: there may be bytes that are not announced again
	seen    uint32 // events that stay true: the peer's end, a failure, urgent data
	loop    *loop  // watches it; nil: nothing had to be waited for yet
	place   place
	taker   Taker // what events are for now; nil: in and out
	at      int
}

// newConn takes over fd, which does not block.
func newConn(fd int, peer netip.AddrPort) *Conn {
	c := &Conn{fd: fd, peer: peer}
	c.in.wake.L, c.out.wake.L = &c.mu, &c.mu
	return c
}

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	c.in.turn.Lock()
	defer c.in.turn.Unlock()
	if len(b) == 0 && !c.isShut() {
		return 0, nil // late or not
	}
	if err := c.begin(&c.in); err != nil {
		return 0, c.failed("read", err)
	}
	defer c.end()
	for {
		n, err := Recv(c.fd, b)
		switch {
		case err == errAgain:
			err = c.wait(&c.in)
			if err == nil {
				continue
			}
			fallthrough
		case err != nil:
			return 0, c.failed("read", err)
		}
		// A read that stops short took everything, but where descriptors are passed along
		// with bytes (unix(7)), which are dropped: it stops behind each of them.
		c.more = n == len(b) || c.Local()
		if n == 0 {
			return 0, io.EOF
		}
		return n, nil
	}
}

// Write implements net.Conn.
func (c *Conn) Write(b []byte) (int, error) {
	return c.write(len(b), func(n int) (int, error) { return Send(c.fd, b[n:]) })
}

// maxVector is how many pieces WriteBuffers sends at once.
const maxVector = 4

// WriteBuffers writes the pieces one after the other, as one if they are few.
func (c *Conn) WriteBuffers(pieces ...[]byte) (int, error) {
	size := 0
	for _, p := range pieces {
		size += len(p)
	}
	return c.write(size, func(n int) (int, error) {
		var vec [maxVector]unix.Iovec
		var m unix.Msghdr
		used := 0
		for _, p := range pieces {
			skip := min(n, len(p))
			if n -= skip; skip == len(p) || used == maxVector {
				continue
			}
			vec[used].Base = &p[skip]
			vec[used].SetLen(len(p) - skip)
			used++
		}
		m.Iov = &vec[0]
		m.SetIovlen(used)
		return sendmsg(c.fd, &m)
	})
}

func (c *Conn) write(size int, send func(from int) (int, error)) (n int, err error) {
	c.out.turn.Lock()
	defer c.out.turn.Unlock()
	if err := c.begin(&c.out); err != nil {
		return 0, c.failed("write", err)
	}
	defer c.end()
	for n < size {
		m, err := send(n)
		n += m
		if err == errAgain {
			err = c.wait(&c.out)
		}
		if err != nil {
			return n, c.failed("write", err)
		}
	}
	return n, nil
}

// Close implements net.Conn. Who waits is woken, and what is under way ends first.
func (c *Conn) Close() error {
	first, free := c.shut()
	switch {
	case !first:
		return errClosedBefore
	case free:
		c.destroy()
	default:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.in.wake.Broadcast()
		c.out.wake.Broadcast()
	}
	return nil
}

// errClosedBefore is no connection's own: closing one twice is common, and no failure.
var errClosedBefore error = &net.OpError{Op: "close", Err: net.ErrClosed}

// destroy is called once, when nobody uses the descriptor any more.
func (c *Conn) destroy() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in.stop()
	c.out.stop()
	if c.loop != nil {
		c.loop.remove(c.place)
	}
	closeFD(c.fd) // which ends the watch
}

// CloseWrite ends what is written: the peer reads the end, and may write on.
func (c *Conn) CloseWrite() error {
	return c.do("close", ShutWrite)
}

// SetLinger is net.TCPConn's: 0 makes Close reset the connection, and less is the usual
// way. More is an error: Close must not wait.
func (c *Conn) SetLinger(seconds int) error {
	return c.do("set", func(fd int) error {
		l := unix.Linger{}
		switch {
		case seconds > 0:
			return unix.EINVAL
		case seconds == 0:
			l.Onoff = 1
		}
		return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &l)
	})
}

// Bound has the kernel hold little more than so many bytes that the user has not read yet,
// and no more that it has not sent yet. Of a unix socket, which has bounds of its own, it
// is an error.
func (c *Conn) Bound(bytes int) error {
	return c.do("set", func(fd int) error {
		return errors.Join(
			setOption(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, int32(bytes)),
			setOption(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, int32(bytes)))
	})
}

func (c *Conn) do(op string, f func(fd int) error) error {
	if !c.enter() {
		return c.failed(op, net.ErrClosed)
	}
	defer c.end()
	if err := f(c.fd); err != nil {
		return c.failed(op, err)
	}
	return nil
}

// Use returns the descriptor, which stays open until Done; false if it is closed.
func (c *Conn) Use() (fd int, ok bool) { return c.fd, c.enter() }

// Done ends a Use.
func (c *Conn) Done() { c.end() }

func (c *Conn) end() {
	if c.leave() {
		c.destroy()
	}
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr {
	if c.Local() {
		return netAddr(invalid)
	}
	if fd, ok := c.Use(); ok {
		defer c.Done()
		if a, err := name(unix.SYS_GETSOCKNAME, fd); err == nil {
			return netAddr(a)
		}
	}
	return &net.TCPAddr{} // it was closed
}

// Local reports whether it is a unix socket.
func (c *Conn) Local() bool { return !c.peer.IsValid() }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return netAddr(c.peer) }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error { return c.deadline(t, &c.in, &c.out) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.deadline(t, &c.in) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.deadline(t, &c.out) }

func (c *Conn) deadline(t time.Time, sides ...*side) error {
	if c.isShut() {
		return c.failed("set", net.ErrClosed)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range sides {
		s.until.Store(since(t))
		s.wake.Broadcast() // who waits looks again
	}
	return nil
}

// failed makes an error what package net would have made of it.
func (c *Conn) failed(op string, err error) error {
	if errno, ok := err.(syscall.Errno); ok {
		err = os.NewSyscallError(op, errno)
	}
	return &net.OpError{Op: op, Net: c.network(), Addr: c.RemoteAddr(), Err: err}
}

func (c *Conn) network() string {
	if c.Local() {
		return "unix"
	}
	return "tcp"
}

// ended reports whether the peer is known to say no more, though not all of what it
// said may have been read.
func (c *Conn) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen&^unix.EPOLLPRI != 0
}
