package authority

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"firma/internal/fault"
)

// maxConnections bounds how many connections are open at once. A Sidecar uses
// one.
const maxConnections = 512

// checkListen refuses an address that other machines can reach: without TLS they
// could read and change what passes.
func checkListen(addr string) error {
	if addr == "" {
		return nil
	}
	const fix = "listen on [::1] or 127.0.0.1, with a port"
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return fault.Wrap(err, "ConfigValidation", "listen_addr "+addr+" is not an address and a port", fix)
	}
	if !ap.Addr().Unmap().IsLoopback() {
		return fault.New("ConfigValidation", "listen_addr "+addr+" can be reached from other machines, without encryption", fix)
	}
	return nil
}

// listen binds addr. "" means [::1]:0, and 127.0.0.1:0 only where there is no
// IPv6 loopback.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // one path: loopback
	first := addr
	if first == "" {
		first = "[::1]:0"
	}
	l, err := lc.Listen(ctx, "tcp", first)
	if addr == "" && noIPv6(err) {
		l, err = lc.Listen(ctx, "tcp", "127.0.0.1:0")
	}
	if err != nil {
		return nil, fault.Wrap(err, "AuthorityListenFailed", "the Authority cannot listen on "+first,
			"stop what uses the address, or set another listen_addr in [authority]")
	}
	return &boundedListener{Listener: l, slots: make(chan struct{}, maxConnections), done: make(chan struct{})}, nil
}

func noIPv6(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EPROTONOSUPPORT)
}

// boundedListener accepts a connection only while a slot is free.
type boundedListener struct {
	net.Listener
	slots chan struct{}
	done  chan struct{}
	once  sync.Once
}

func (l *boundedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &boundedConn{Conn: c, slots: l.slots}, nil
}

func (l *boundedListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type boundedConn struct {
	net.Conn
	slots chan struct{}
	once  sync.Once
}

func (c *boundedConn) Close() error {
	c.once.Do(func() { <-c.slots })
	return c.Conn.Close()
}
