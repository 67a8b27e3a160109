// Package line carries one line out and one line back over a local socket, and
// takes nothing else for an answer: not half a line, not two, not a long one, not
// a late one.
package line

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"strings"
	"time"
)

// How an exchange fails. Unreachable wraps the system's error.
var (
	ErrUnreachable = errors.New("it can't be reached")
	ErrTimeout     = errors.New("it did not answer in time")
	ErrClosed      = errors.New("it closed the connection before it had answered with a whole line")
	ErrTooLong     = errors.New("its answer is too long")
	ErrExtra       = errors.New("it sent more than one line")
	ErrLingers     = errors.New("it kept the connection open after its answer")
)

// Address is a socket on this machine or, over TCP, on another.
type Address struct{ Network, Addr string }

// ParseAddress reads unix:/PATH, unix:///PATH, tcp:HOST:PORT or tcp://HOST:PORT.
func ParseAddress(s string) (Address, error) {
	if p, ok := strings.CutPrefix(s, "unix:"); ok {
		p = strings.TrimPrefix(p, "//")
		if !path.IsAbs(p) || path.Clean(p) != p || len(p) > MaxPath || strings.IndexByte(p, 0) >= 0 {
			return Address{}, fmt.Errorf("%s: a socket needs an absolute path of at most %d bytes, as in unix:/run/user/1000/gate.sock", s, MaxPath)
		}
		return Address{"unix", p}, nil
	}
	if hp, ok := strings.CutPrefix(s, "tcp:"); ok {
		hp = strings.TrimPrefix(hp, "//")
		if host, port, err := net.SplitHostPort(hp); err != nil || host == "" || port == "" || port == "0" {
			return Address{}, fmt.Errorf("%s: write tcp:HOST:PORT", s)
		}
		return Address{"tcp", hp}, nil
	}
	return Address{}, fmt.Errorf("%s: write unix:/PATH or tcp:HOST:PORT", s)
}

// MaxPath is the longest path of a Unix socket in bytes (unix(7), sun_path, with
// its NUL).
const MaxPath = 107

func (a Address) String() string { return a.Network + ":" + a.Addr }

// Exchange sends out, which ends in a line feed, and returns the one line that
// comes back, without its line feed and of at most limit bytes. The other side
// must then close the connection. All of it has to happen within timeout.
func Exchange(ctx context.Context, to Address, out []byte, limit int, timeout time.Duration) ([]byte, error) {
	deadline := time.Now().Add(timeout)
	d := net.Dialer{Deadline: deadline}
	conn, err := d.DialContext(ctx, to.Network, to.Addr)
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(deadline)
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	answer, err := exchange(conn, out, limit)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return answer, err
}

func unreachable(ctx context.Context, err error) error {
	var timeout net.Error
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &timeout) && timeout.Timeout():
		return ErrTimeout
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// closeWriter is a connection of which one direction can be ended.
type closeWriter interface{ CloseWrite() error }

func exchange(conn net.Conn, out []byte, limit int) ([]byte, error) {
	// An answer to what was not read whole would be an answer to something else.
	if _, err := conn.Write(out); errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, ErrTimeout
	} else if err != nil {
		return nil, ErrClosed
	}
	answer, rest, err := readLine(conn, limit)
	if err != nil {
		return nil, err
	}
	if c, ok := conn.(closeWriter); ok {
		_ = c.CloseWrite() // only now: some servers take it for the end of all
	}
	if err := ended(conn, rest); err != nil {
		return nil, err
	}
	return answer, nil
}

// ended waits for the end of the connection.
func ended(conn net.Conn, rest int) error {
	if rest > 0 {
		return ErrExtra
	}
	var one [1]byte
	switch n, err := conn.Read(one[:]); {
	case n > 0:
		return ErrExtra
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrLingers
	case err != io.EOF:
		return ErrClosed
	}
	return nil
}

// Read returns the first line that r holds, without its line feed and of at most
// limit bytes; what came after it is lost.
func Read(r io.Reader, limit int) ([]byte, error) {
	line, _, err := readLine(r, limit)
	return line, err
}

// readLine also says how many bytes came with the line after its end.
func readLine(r io.Reader, limit int) (line []byte, rest int, err error) {
	buf := make([]byte, 0, 512)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		fresh := buf[len(buf) : len(buf)+n]
		if i := bytes.IndexByte(fresh, '\n'); i >= 0 && len(buf)+i <= limit {
			return buf[:len(buf)+i], n - i - 1, nil
		}
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) > limit:
			return nil, 0, ErrTooLong
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, 0, ErrTimeout
		case err != nil:
			return nil, 0, ErrClosed
		}
	}
}
