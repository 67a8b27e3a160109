package h2

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"firma/internal/sidecar/http1"
)

const (
	// upstreamWindow is how much of a response is taken before the agent took it.
	upstreamWindow = 1 << 20
	// leanWindow is the same where memory is short: net/http's least.
	leanWindow = 64 << 10
	adoptedFor = 10 * time.Second
)

// upstreams are the session's connections to destinations.
type upstreams struct {
	cfg  *Config
	any  *http.Transport // HTTP/2 or HTTP/1.1, whichever the upstream prefers
	slim *http.Transport // any, with responses of which little is held
	one  *http.Transport // HTTP/1.1, for WebSockets

	mu      sync.Mutex
	adopted map[string][]*tls.Conn
	closed  bool
}

func newUpstreams(cfg *Config) *upstreams {
	u := &upstreams{cfg: cfg, adopted: make(map[string][]*tls.Conn)}
	u.any = u.transport([]string{"h2", "http/1.1"})
	u.slim = u.transport([]string{"h2", "http/1.1"})
	u.slim.HTTP2.MaxReceiveBufferPerStream = leanWindow
	u.one = u.transport([]string{"http/1.1"})
	return u
}

// by is the client for a request.
func (u *upstreams) by(lean bool) *http.Transport {
	if lean {
		return u.slim
	}
	return u.any
}

// transport returns a client that adds nothing of its own: no compression, no
// proxy from the environment, no redirects.
func (u *upstreams) transport(protos []string) *http.Transport {
	h2 := protos[0] == "h2"
	t := &http.Transport{
		DisableCompression:     true,
		ForceAttemptHTTP2:      h2,
		MaxIdleConns:           u.cfg.PoolSize,
		MaxIdleConnsPerHost:    u.cfg.PoolSize,
		IdleConnTimeout:        u.cfg.PoolIdle,
		ResponseHeaderTimeout:  max(u.cfg.ResponseTimeout, 0),
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: http1.MaxHead,
		WriteBufferSize:        copySize,
		ReadBufferSize:         copySize,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("h2: only verified connections")
		},
		DialTLSContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			c, err := u.dial(ctx, addr, protos)
			if err != nil {
				return nil, err
			}
			return strictly(c), nil
		},
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream: upstreamWindow,
			SendPingTimeout:           30 * time.Second,
			WriteByteTimeout:          time.Minute,
		},
	}
	if !h2 {
		t.Protocols = new(http.Protocols)
		t.Protocols.SetHTTP1(true)
	}
	return t
}

func (u *upstreams) dial(ctx context.Context, addr string, protos []string) (*tls.Conn, error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return nil, err
	}
	if c := u.take(addr, protos); c != nil {
		return c, nil
	}
	ctx, cancel := context.WithTimeout(ctx, u.cfg.ConnectTimeout)
	defer cancel()
	c, err := u.cfg.DialTLS(ctx, host, uint16(port), protos)
	if err != nil {
		return nil, &dialError{err}
	}
	if c == nil {
		return nil, &dialError{errors.New("h2: the dialer returned no connection")}
	}
	return c, nil
}

func (u *upstreams) adopt(host string, port uint16, c *tls.Conn) {
	addr := hostPort(host, port)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		c.Close()
		return
	}
	u.adopted[addr] = append(u.adopted[addr], c)
	time.AfterFunc(adoptedFor, func() { u.drop(addr, c) })
}

// take returns an adopted connection that speaks one of protos, or nil.
func (u *upstreams) take(addr string, protos []string) *tls.Conn {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i, c := range u.adopted[addr] {
		if proto := c.ConnectionState().NegotiatedProtocol; proto != "h2" || protos[0] == "h2" {
			u.removeLocked(addr, i)
			return c
		}
	}
	return nil
}

func (u *upstreams) drop(addr string, c *tls.Conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i, x := range u.adopted[addr] {
		if x == c {
			u.removeLocked(addr, i)
			go c.Close()
			return
		}
	}
}

func (u *upstreams) removeLocked(addr string, i int) {
	list := u.adopted[addr]
	if list = append(list[:i], list[i+1:]...); len(list) == 0 {
		delete(u.adopted, addr)
	} else {
		u.adopted[addr] = list
	}
}

func (u *upstreams) close() {
	u.mu.Lock()
	u.closed = true
	for addr, list := range u.adopted {
		for _, c := range list {
			c.Close()
		}
		delete(u.adopted, addr)
	}
	u.mu.Unlock()
	u.any.CloseIdleConnections()
	u.slim.CloseIdleConnections()
	u.one.CloseIdleConnections()
}
