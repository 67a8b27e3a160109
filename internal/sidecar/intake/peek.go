//go:build unix

package intake

import (
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"firma/internal/sidecar/sock"
)

// begins reports whether the first bytes of conn are text. It waits until that can
// be told and leaves every byte where it is, so that the connection stays what it
// was for whoever takes it over.
func begins(conn net.Conn, text string) (bool, error) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return false, net.ErrClosed
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false, err
	}
	p := peek{text: text}
	if err := raw.Read(p.look); err != nil {
		return false, err
	}
	return p.same, p.err
}

// beginsNow is begins without waiting; known is false if it can't be told yet, or
// the connection has ended.
func beginsNow(conn net.Conn, text string) (same, known bool) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return false, false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false, false
	}
	p := peek{text: text}
	err = raw.Control(func(fd uintptr) { known = p.look(fd) })
	return p.same, known && err == nil && p.err == nil
}

type peek struct {
	text string
	same bool
	err  error
}

// look is called when there may be something new to read; false waits for more.
func (p *peek) look(fd uintptr) bool {
	buf := make([]byte, len(p.text))
	n, err := sock.Peek(int(fd), buf)
	switch {
	case err == unix.EAGAIN:
		return false
	case err != nil:
		p.err = err
		return true
	case n == 0:
		p.err = io.EOF
		return true
	case string(buf[:n]) != p.text[:n]:
		return true
	case n == len(p.text):
		p.same = true
		return true
	}
	return false // some of it is there: the rest, or the end, wakes us
}
