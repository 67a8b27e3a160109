package sock

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

var invalid netip.AddrPort

// Dial connects to an address, which has no zone, over TCP, until ctx is done and for
// no longer than within, if that is not 0. The local address is the kernel's choice.
// The error is ctx's, or a *net.OpError.
func Dial(ctx context.Context, within time.Duration, to netip.AddrPort) (net.Conn, error) {
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	if !to.IsValid() || to.Addr().Zone() != "" {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("no address to connect to")}
	}
	for again := true; ; again = false {
		c, err := dial(ctx, within, to)
		if err != nil {
			return nil, err
		}
		// A port of our own that nobody listens on may be given to the connection itself,
		// which then leads to itself.
		if local, err := name(unix.SYS_GETSOCKNAME, c.fd); err == nil && local != to {
			return c, nil
		}
		c.Close()
		if !again {
			return nil, c.failed("dial", syscall.ECONNREFUSED)
		}
	}
}

func dial(ctx context.Context, within time.Duration, to netip.AddrPort) (*Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var at address
	at.of(to)
	n, _, errno := unix.RawSyscall(unix.SYS_SOCKET, uintptr(at.family()), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if errno != 0 {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: netAddr(to), Err: os.NewSyscallError("socket", errno)}
	}
	c := newConn(int(n), to)
	_, _, errno = unix.RawSyscall(unix.SYS_CONNECT, uintptr(c.fd), uintptr(unsafe.Pointer(&at.raw)), uintptr(at.size))
	err := error(nil)
	if errno != 0 && errno != unix.EISCONN {
		err = errno
	}
	if errno == unix.EINPROGRESS || errno == unix.EINTR {
		err = c.connected(ctx, within)
	}
	if err == nil {
		err = c.settle(to.Addr())
	}
	if err != nil {
		c.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, c.failed("dial", err)
	}
	return c, nil
}

// connected waits until it is clear whether connecting succeeded. On this host it is at
// once.
func (c *Conn) connected(ctx context.Context, within time.Duration) error {
	if _, err := name(unix.SYS_GETPEERNAME, c.fd); err == nil {
		return nil
	}
	if !c.enter() {
		return net.ErrClosed
	}
	defer c.end()
	if within > 0 {
		_ = c.SetWriteDeadline(time.Now().Add(within))
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetWriteDeadline(time.Unix(1, 0)) })
	err := c.established()
	if !stop() && err == nil {
		return os.ErrDeadlineExceeded // it may have been set, or will be
	}
	_ = c.SetWriteDeadline(time.Time{})
	return err
}

func (c *Conn) established() error {
	for {
		if err := c.wait(&c.out); err != nil {
			return err
		}
		code, err := option(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil {
			return err
		}
		switch errno := syscall.Errno(code); errno {
		case unix.EINPROGRESS, unix.EALREADY, unix.EINTR:
			continue
		case 0, unix.EISCONN:
		default:
			return errno
		}
		if _, err := name(unix.SYS_GETPEERNAME, c.fd); err == nil {
			return nil // else it was woken for nothing
		}
	}
}

// settle sets what every connection has. A peer on this host can't vanish without a
// word, so it is not asked.
func (c *Conn) settle(to netip.Addr) error {
	err := setOption(c.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if to.IsLoopback() {
		return err
	}
	return errors.Join(err,
		setOption(c.fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1),
		setOption(c.fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepIdle),
		setOption(c.fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, keepBetween),
		setOption(c.fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepTries))
}
