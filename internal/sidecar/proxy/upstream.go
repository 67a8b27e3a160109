package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"firma/internal/sidecar/allowance"
	"firma/internal/sidecar/http1"
)

// upstream is one connection to a destination.
type upstream struct {
	nc     net.Conn
	in     *http1.Reader // nil for a tunnel
	key    poolKey
	reused bool
	// layered: TLS is in between, to the destination or to the network's own proxy,
	// and may hold what has arrived.
	layered bool
	idleAt  time.Time
	probe   probe
	one     [1]byte
}

func newUpstream(key poolKey, nc net.Conn, tunnel bool, memory *allowance.Bytes) *upstream {
	u := &upstream{nc: nc, key: key}
	_, plain := nc.(syscall.Conn)
	u.layered = !plain
	if !tunnel {
		u.in = http1.NewReader(nc).Within(memory)
		u.probe.init(under(nc))
	}
	return u
}

// idle reports whether a kept connection can carry a request: it is open and the
// destination sent nothing unasked, which would be taken for the next response.
func (u *upstream) idle() bool {
	switch quiet := u.probe.quiet(); {
	case len(u.in.Buffered()) > 0:
		return false
	case !u.layered:
		return quiet
	case quiet: // and is nothing left in the last record that was read?
		return u.silentUntil(past)
	}
	// TLS has messages of its own, such as the session tickets at the beginning.
	return u.silentUntil(time.Now().Add(ticketTime))
}

// ticketTime is enough for reading what has arrived.
const ticketTime = time.Millisecond

func (u *upstream) silentUntil(t time.Time) bool {
	if u.nc.SetReadDeadline(t) != nil {
		return false
	}
	n, err := u.nc.Read(u.one[:])
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded)
}

func (u *upstream) close() {
	under(u.nc).Close()
	if u.in != nil {
		u.in.Release()
	}
}

func (s *Server) dial(ctx context.Context, key poolKey) (nc net.Conn, err error) {
	if key.tls {
		ctx, cancel := context.WithTimeout(ctx, s.cfg.ConnectTimeout)
		defer cancel()
		return s.dialTLS(ctx, key)
	}
	nc, err = s.cfg.Dialer.Dial(ctx, key.host, key.port)
	if err == nil && nc == nil {
		err = errors.New("proxy: the dialer returned no connection")
	}
	return nc, err
}

var onlyHTTP1 = []string{protoHTTP1}

func (s *Server) dialTLS(ctx context.Context, key poolKey) (net.Conn, error) {
	if s.cfg.TLS == nil {
		return nil, errors.New("proxy: no TLS is configured")
	}
	tc, err := s.cfg.TLS.DialTLS(ctx, key.host, key.port, onlyHTTP1)
	switch {
	case err != nil:
		return nil, err
	case tc == nil:
		return nil, errors.New("proxy: the dialer returned no connection")
	case protocolOf(tc) != protoHTTP1:
		under(tc).Close()
		return nil, errors.New("proxy: the upstream chose a protocol that was not offered")
	}
	return tc, nil
}

// The protocols that a stream can be looked into with, as ALPN names them.
const (
	protoHTTP1 = "http/1.1"
	protoHTTP2 = "h2"
)

// protocolOf is what was agreed on; without ALPN it is HTTP/1.1.
func protocolOf(tc *tls.Conn) string {
	if p := tc.ConnectionState().NegotiatedProtocol; p != "" {
		return p
	}
	return protoHTTP1
}
