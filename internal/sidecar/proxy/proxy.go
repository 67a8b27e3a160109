// Package proxy speaks HTTP/1.1 to the agent: forward-proxy requests, and requests
// inside the streams it asks for by CONNECT, by SOCKS5 or, captured, by connecting.
// It reads a request, makes the one canonical call of it, asks the Enforcer, and
// carries the verdict out: a 403 with the reason, or a dispatch of exactly what was
// judged. A stream that is not looked into is a call itself, and then a tunnel. It
// decides nothing, and opens no connection before an ALLOW but where the Enforcer
// says that some call to the destination could be allowed.
package proxy

import (
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"firma/internal/sidecar/allowance"
)

// Config is what New needs. A zero duration or count means its default; a
// negative duration means no limit where the field says so.
type Config struct {
	Enforcer Enforcer
	Dialer   Dialer

	// Interceptor says which streams are looked into, with TLS for their upstream
	// connections; nil for none. Both or neither.
	Interceptor Interceptor
	TLS         TLSDialer
	// HTTP2 serves the connections on which it was agreed; nil: it is not offered.
	HTTP2 HTTP2
	// NameOf returns the name that a synthetic address stands for; may be nil.
	NameOf func(netip.Addr) (string, bool)

	Log *slog.Logger // panics and broken listeners; nothing per request

	// MaxBody bounds the body of a request, in bytes; 0 does not.
	MaxBody int64
	// MaxConns bounds the agent's connections; further ones wait in the kernel's
	// backlog. Default 4096.
	MaxConns int
	// HeadTimeout is for a request head from its first byte to its last. Default
	// 15 s.
	HeadTimeout time.Duration
	// IdleTimeout is for a connection between requests. Default 5 min.
	IdleTimeout time.Duration
	// ConnectTimeout is for connecting and the TLS handshake after an ALLOW; a plain
	// connection is the Dialer's, which has a timeout of its own. Default 10 s.
	ConnectTimeout time.Duration
	// ResponseTimeout is from the end of the request to the response head; model
	// APIs that don't stream think for minutes. Default 10 min, negative for none.
	ResponseTimeout time.Duration
	// HostTimeout is ResponseTimeout for one host (intent.HostKey), 0 for the usual
	// one. It may be nil.
	HostTimeout func(host string) time.Duration
	// Linger is how long a client may go on sending a request that was answered before
	// its end; LingerIdle, how long it may say nothing meanwhile. Defaults 30 s and 5 s.
	Linger, LingerIdle time.Duration
	// StreamIdle cuts a response body or a tunnel that carried nothing for at
	// least this long, at most twice. Default 1 h, negative for none.
	StreamIdle time.Duration
	// SessionMax cuts a tunnel however busy it is. Default none: a stream that
	// works is not cut by a clock.
	SessionMax time.Duration
	// Memory is what the session may make the Sidecar hold, beyond the small
	// buffers of each connection; nil for no bound.
	Memory *allowance.Bytes
	// PoolIdle is how long an unused upstream connection is kept. Default 60 s.
	PoolIdle time.Duration
	// PoolSize bounds unused upstream connections. Default 256.
	PoolSize int
}

func (c *Config) setDefaults() {
	durations := []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.HeadTimeout, 15 * time.Second}, {&c.IdleTimeout, 5 * time.Minute}, {&c.ConnectTimeout, 10 * time.Second},
		{&c.ResponseTimeout, 10 * time.Minute}, {&c.StreamIdle, time.Hour}, {&c.PoolIdle, time.Minute},
		{&c.Linger, 30 * time.Second}, {&c.LingerIdle, 5 * time.Second},
	}
	for _, d := range durations {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.MaxConns <= 0 {
		c.MaxConns = 4096
	}
	if c.PoolSize <= 0 {
		c.PoolSize = 256
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// New returns a server for one session: its upstream connections are shared by
// all its clients and by nobody else.
func New(cfg Config) (*Server, error) {
	if cfg.Enforcer == nil || cfg.Dialer == nil {
		return nil, errors.New("proxy: Enforcer and Dialer are required")
	}
	if (cfg.Interceptor == nil) != (cfg.TLS == nil) {
		return nil, errors.New("proxy: Interceptor and TLS go together")
	}
	if cfg.HeadTimeout < 0 || cfg.IdleTimeout < 0 || cfg.ConnectTimeout < 0 || cfg.PoolIdle < 0 {
		return nil, errors.New("proxy: head, idle, connect and pool timeouts can't be unlimited")
	}
	cfg.setDefaults()
	s := &Server{
		cfg:   cfg,
		conns: make(map[*conn]struct{}),
		slots: make(chan struct{}, cfg.MaxConns),
		stop:  make(chan struct{}),
	}
	s.mayLinger = int32(max(1, cfg.MaxConns/lingerShare))
	s.pool = newPool(cfg.PoolSize, cfg.PoolIdle)
	return s, nil
}
