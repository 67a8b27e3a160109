//go:build unix

package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// MaxMessage is the largest message in bytes. A SOCK_SEQPACKET message is
// delivered whole or not at all, so it must fit the socket's send buffer.
const MaxMessage = 1 << 20

// Conn carries whole messages and descriptors over one end of a socket pair.
// Send may be called concurrently; Recv by one goroutine at a time.
type Conn struct {
	c  *net.UnixConn
	mu sync.Mutex
	in []byte
}

// Pair returns this process's end and the end to give to a child as an inherited
// descriptor. The caller closes both; the child's after the child has started.
func Pair(name string) (*Conn, *os.File, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, seqpacket, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	for _, fd := range fds {
		syscall.CloseOnExec(fd)
		// Best effort: the kernel clamps this to net.core.wmem_max; a message
		// that does not fit fails in Send with a clear error.
		_ = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, MaxMessage)
	}
	ours := os.NewFile(uintptr(fds[0]), name)
	conn, err := New(ours)
	if err != nil {
		syscall.Close(fds[1])
		return nil, nil, err
	}
	return conn, os.NewFile(uintptr(fds[1]), name), nil
}

// New takes over f, one end of a socket pair, and closes it.
func New(f *os.File) (*Conn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("control: the descriptor is not a unix socket")
	}
	return &Conn{c: u}, nil
}

// Close closes this end; the peer's Recv then returns io.EOF.
func (c *Conn) Close() error { return c.c.Close() }

// Send writes one message with the given descriptors, which stay the caller's.
func (c *Conn) Send(m Message, files ...*os.File) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(b) > MaxMessage {
		return fmt.Errorf("control: message of %d bytes exceeds %d", len(b), MaxMessage)
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = syscall.UnixRights(fds...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _, err = c.c.WriteMsgUnix(b, rights, nil)
	return err
}

// Recv reads one message. The received files are the caller's. It returns io.EOF
// once the peer has closed its end or died.
func (c *Conn) Recv() (Message, []*os.File, error) {
	m, files, _, err := c.recv(0)
	return m, files, err
}

func (c *Conn) recv(oobExtra int) (Message, []*os.File, []syscall.SocketControlMessage, error) {
	if err := c.room(); err != nil {
		return Message{}, nil, nil, err
	}
	oob := make([]byte, syscall.CmsgSpace(maxFiles*4)+oobExtra)
	n, oobn, flags, _, err := c.c.ReadMsgUnix(c.in, oob)
	if errors.Is(err, syscall.ECONNRESET) {
		n, oobn, flags, _, err = c.c.ReadMsgUnix(c.in, oob) // as in room
	}
	if err != nil || n == 0 {
		if err == nil || errors.Is(err, syscall.ECONNRESET) {
			err = io.EOF
		}
		return Message{}, nil, nil, err
	}
	cmsgs, files, err := rights(oob[:oobn])
	if err == nil && flags&(syscall.MSG_TRUNC|syscall.MSG_CTRUNC) != 0 {
		err = errors.New("control: message truncated")
	}
	var m Message
	if err == nil {
		err = json.Unmarshal(c.in[:n], &m)
	}
	if err != nil {
		closeAll(files)
		return Message{}, nil, nil, err
	}
	return m, files, cmsgs, nil
}

// room waits for a message and makes the buffer large enough for it: most are
// small, and untouched memory is what a quick start is made of.
func (c *Conn) room() error {
	raw, err := c.c.SyscallConn()
	if err != nil {
		return err
	}
	var n int
	var rerr error
	err = raw.Read(func(fd uintptr) bool {
		n, _, rerr = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_TRUNC)
		if rerr == syscall.ECONNRESET {
			// A peer that ended with something of ours unread. The kernel says so once,
			// before the last messages, which say why it ended.
			n, _, rerr = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_TRUNC)
		}
		return rerr != syscall.EAGAIN
	})
	if err == nil {
		err = rerr
	}
	switch {
	case errors.Is(err, syscall.ECONNRESET):
		return io.EOF
	case err != nil:
		return err
	case n > MaxMessage:
		return fmt.Errorf("control: message of %d bytes exceeds %d", n, MaxMessage)
	case n > len(c.in):
		c.in = make([]byte, n)
	case c.in == nil:
		c.in = make([]byte, 1)
	}
	return nil
}

const maxFiles = 16

func rights(oob []byte) ([]syscall.SocketControlMessage, []*os.File, error) {
	cmsgs, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, nil, err
	}
	var files []*os.File
	for i := range cmsgs {
		if cmsgs[i].Header.Level != syscall.SOL_SOCKET || cmsgs[i].Header.Type != syscall.SCM_RIGHTS {
			continue
		}
		fds, err := syscall.ParseUnixRights(&cmsgs[i])
		if err != nil {
			closeAll(files)
			return nil, nil, err
		}
		for _, fd := range fds {
			syscall.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return cmsgs, files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
