package sock

import (
	"io"
	"syscall"
)

// SyscallConn implements syscall.Conn.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return (*rawConn)(c), nil }

type rawConn Conn

// Control implements syscall.RawConn.
func (r *rawConn) Control(f func(fd uintptr)) error {
	c := (*Conn)(r)
	return c.do("raw-control", func(fd int) error { f(uintptr(fd)); return nil })
}

// Read implements syscall.RawConn. It is io.EOF's error when f waits for more than there
// will be.
func (r *rawConn) Read(f func(fd uintptr) bool) error {
	return (*Conn)(r).until("raw-read", &r.in, f)
}

// Write implements syscall.RawConn.
func (r *rawConn) Write(f func(fd uintptr) bool) error {
	return (*Conn)(r).until("raw-write", &r.out, f)
}

func (c *Conn) until(op string, s *side, f func(fd uintptr) bool) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	if err := c.begin(s); err != nil {
		return c.failed(op, err)
	}
	defer c.end()
	for {
		over := s == &c.in && c.ended()
		if f(uintptr(c.fd)) {
			break
		}
		err := io.EOF // what f wants does not come any more, and nothing will be announced
		if !over {
			err = c.wait(s)
		}
		if err != nil {
			return c.failed(op, err)
		}
	}
	if s == &c.in {
		c.more = true // what it did is not known
	}
	return nil
}
