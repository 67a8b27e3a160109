package proxy

import (
	"context"
	"errors"
	"net"
	"time"

	"firma/internal/sidecar/http1"
)

// upstream is one connection to a destination.
type upstream struct {
	nc     net.Conn
	in     *http1.Reader // nil for a tunnel
	key    poolKey
	reused bool
	idleAt time.Time
	probe  probe
}

func newUpstream(key poolKey, nc net.Conn, tunnel bool) *upstream {
	u := &upstream{nc: nc, key: key}
	if !tunnel {
		u.in = http1.NewReader(nc)
		u.probe.init(nc)
	}
	return u
}

// idle reports whether a kept connection can carry a request: it is open and the
// destination sent nothing unasked, which would be taken for the next response.
func (u *upstream) idle() bool { return len(u.in.Buffered()) == 0 && u.probe.quiet() }

func (u *upstream) close() {
	u.nc.Close()
	if u.in != nil {
		u.in.Release()
	}
}

func (s *Server) dial(ctx context.Context, key poolKey) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.ConnectTimeout)
	defer cancel()
	nc, err := s.cfg.Dialer.Dial(ctx, key.host, key.port)
	if err == nil && nc == nil {
		err = errors.New("proxy: the dialer returned no connection")
	}
	return nc, err
}
