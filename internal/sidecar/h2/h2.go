// Package h2 serves HTTP/2 to the agent inside an intercepted TLS connection. Each
// request becomes one canonical call, is asked of the Enforcer and, if allowed, is
// sent upstream in exactly that form; the answer is passed on as it comes.
//
// The agent's side is this package's own (RFC 9113): what it refuses it can audit,
// and every resource that a client can claim has a bound. The upstream's side is
// net/http's client, over connections that the configured dialer verified.
package h2

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"firma/internal/intent"
	"firma/internal/sidecar/allowance"
	"firma/internal/sidecar/proxy"
	"firma/internal/verdict"
)

// Config is what New needs. A zero duration or count means its default; a
// negative duration means no limit where the field says so.
type Config struct {
	Enforcer proxy.Enforcer
	// DialTLS connects to a destination after an ALLOW and verifies it; the
	// connection it returns has agreed on one of protos, or on none. An error may
	// carry a refusal as those of proxy.Dialer do.
	DialTLS func(ctx context.Context, host string, port uint16, protos []string) (*tls.Conn, error)
	Log     *slog.Logger // panics; nothing per request

	// MaxStreams bounds the requests under way on one connection. Default 100.
	MaxStreams int
	// HeadTimeout is for a header block from its first byte to its last, and for
	// the start of the connection. Default 15 s.
	HeadTimeout time.Duration
	// IdleTimeout is for a connection without streams, and for a client that takes
	// nothing of what is written. Default 5 min.
	IdleTimeout time.Duration
	// ConnectTimeout is for resolving, connecting and the handshake after an ALLOW.
	// Default 10 s.
	ConnectTimeout time.Duration
	// ResponseTimeout is from the end of the request to the response head. Default
	// 10 min, negative for none.
	ResponseTimeout time.Duration
	// HostTimeout is ResponseTimeout for one host (intent.HostKey), 0 for the usual
	// one. It may be nil.
	HostTimeout func(host string) time.Duration
	// MaxBody bounds the body of a request, in bytes; 0 does not.
	MaxBody int64
	// StreamIdle cuts a request or a WebSocket that carried nothing either way for
	// at least this long, at most twice. Default 1 h, negative for none.
	StreamIdle time.Duration
	// Memory is what the session may make the Sidecar hold, beyond the buffers of
	// idle connections; nil for no bound.
	Memory *allowance.Bytes
	// PoolIdle is how long an unused upstream connection is kept. Default 60 s.
	PoolIdle time.Duration
	// PoolSize bounds unused upstream connections. Default 256.
	PoolSize int
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.HeadTimeout, 15 * time.Second}, {&c.IdleTimeout, 5 * time.Minute}, {&c.ConnectTimeout, 10 * time.Second},
		{&c.ResponseTimeout, 10 * time.Minute}, {&c.StreamIdle, time.Hour}, {&c.PoolIdle, time.Minute},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.MaxStreams <= 0 {
		c.MaxStreams = 100
	}
	if c.PoolSize <= 0 {
		c.PoolSize = 256
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Server serves the HTTP/2 connections of one session's agent; they share its
// upstream connections. It is safe for concurrent use.
type Server struct {
	cfg Config
	up  *upstreams

	mu       sync.Mutex
	conns    map[*conn]struct{}
	draining bool
	wg       sync.WaitGroup
}

// New returns a server for one session.
func New(cfg Config) (*Server, error) {
	if cfg.Enforcer == nil || cfg.DialTLS == nil {
		return nil, errors.New("h2: Enforcer and DialTLS are required")
	}
	if cfg.HeadTimeout < 0 || cfg.IdleTimeout < 0 || cfg.ConnectTimeout < 0 || cfg.PoolIdle < 0 {
		return nil, errors.New("h2: head, idle, connect and pool timeouts can't be unlimited")
	}
	cfg.setDefaults()
	s := &Server{cfg: cfg, conns: make(map[*conn]struct{})}
	s.up = newUpstreams(&s.cfg)
	return s, nil
}

// ServeConn serves one connection, whose handshake is over and agreed on h2, and
// closes it. Every request on it must name host and port, in canonical form, as
// its destination. It returns when the connection and all its streams have ended;
// when ctx is done they are cut.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn, host string, port uint16) {
	c := newConn(ctx, s, nc, host, port)
	if !s.add(c) {
		c.cut(errCut)
		return
	}
	defer s.remove(c)
	defer context.AfterFunc(ctx, func() { c.cut(errCut) })()
	defer c.releaseMemory()
	defer c.wg.Wait()
	defer c.cut(errClientLeft)
	defer s.recover("connection")
	c.serve()
}

// Adopt keeps c, a fresh connection to host and port that DialTLS made to learn
// the upstream's protocols, for the next request to them. It owns c.
func (s *Server) Adopt(host string, port uint16, c *tls.Conn) { s.up.adopt(host, port, c) }

func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	s.wg.Add(1)
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.wg.Done()
}

func (s *Server) list() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		list = append(list, c)
	}
	return list
}

// Conns returns how many connections are open.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Drain tells clients by GOAWAY to send no more requests, lets those under way
// end, and returns nil when all connections are gone; when ctx is done first it
// cuts the rest and returns ctx's error. The server can't be used again.
func (s *Server) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	for _, c := range s.list() {
		c.drain()
	}
	gone := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(gone)
	}()
	var err error
	select {
	case <-gone:
	case <-ctx.Done():
		err = ctx.Err()
		for _, c := range s.list() {
			c.cut(errCut)
		}
		<-gone
	}
	s.up.close()
	return err
}

// Recheck asks still about every request and WebSocket under way and cuts those
// for which it returns a reason; it returns how many. The call passed is not to be
// kept.
func (s *Server) Recheck(still func(c *intent.Call, d verdict.Decision) verdict.Reason) int {
	n := 0
	for _, c := range s.list() {
		for _, st := range c.dispatched() {
			if reason := still(&st.call, st.judged); reason != verdict.None && st.stop(&revokedError{reason}, codeCancel) {
				n++
			}
		}
	}
	return n
}

// recover logs a panic of the calling goroutine; it must be deferred.
func (s *Server) recover(where string) {
	if p := recover(); p != nil {
		s.cfg.Log.Error("h2: panic", "in", where, "panic", p, "stack", string(debug.Stack()))
	}
}
