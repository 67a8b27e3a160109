package proxy

import (
	"context"
	"errors"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"firma/internal/intent"
	"firma/internal/sidecar/crew"
	"firma/internal/verdict"
)

// Server serves the connections of one session's agent. It is safe for
// concurrent use.
type Server struct {
	cfg      Config
	pool     *pool
	slots    chan struct{} // one per connection
	draining atomic.Bool
	stop     chan struct{} // closed when draining starts
	once     sync.Once

	lingering atomic.Int32 // connections that wait for the end of an upload
	mayLinger int32

	mu    sync.Mutex
	conns map[*conn]struct{}
	said  time.Time // when something was scarce
	wg    sync.WaitGroup
}

// Serve accepts connections from ln, which it owns, until ctx is done or Drain
// is called; then it waits for its connections and returns nil. When ctx is done
// the connections are cut at once. Any other return is an error of ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error { return s.serve(ctx, ln, nil) }

// ServeStreams is Serve for connections that were meant for somebody else, whom
// destination names for each: a host in canonical form, and a port. They are
// streams, as those that CONNECT asks for.
func (s *Server) ServeStreams(ctx context.Context, ln net.Listener, destination func(net.Conn) (host string, port uint16, err error)) error {
	if destination == nil {
		return errors.New("proxy: ServeStreams needs to know the destinations")
	}
	return s.serve(ctx, ln, destination)
}

func (s *Server) serve(ctx context.Context, ln net.Listener, origin func(net.Conn) (string, uint16, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		ln.Close()
		s.cut(func(c *conn) bool { return c.ctx == ctx })
	})()
	var wg sync.WaitGroup
	defer wg.Wait()
	go func() {
		select {
		case <-s.stop:
		case <-ctx.Done():
		}
		ln.Close()
	}()
	if q, ok := ln.(interface{ OfferTo(func(net.Conn) bool) }); ok {
		defer q.OfferTo(nil)
		q.OfferTo(func(nc net.Conn) bool {
			select {
			case s.slots <- struct{}{}:
			default:
				return false
			}
			s.take(ctx, nc, origin, &wg)
			return true
		})
	}
	return s.accept(ctx, ln, origin, &wg)
}

// take serves an accepted connection, for which there is a slot.
func (s *Server) take(ctx context.Context, nc net.Conn, origin func(net.Conn) (string, uint16, error), wg *sync.WaitGroup) {
	c := newConn(ctx, s, nc, wg)
	c.origin = origin
	if !s.add(c) {
		nc.Close()
		<-s.slots
		return
	}
	bound(nc, c.room)
	if ctx.Err() != nil {
		c.cut() // the cut at the end of ctx may have missed it
	}
	serving.Go(c)
}

func (s *Server) accept(ctx context.Context, ln net.Listener, origin func(net.Conn) (string, uint16, error), wg *sync.WaitGroup) error {
	for delay := time.Duration(0); ; {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		case <-s.stop:
			return nil
		}
		nc, err := ln.Accept()
		if err == nil {
			delay = 0
			s.take(ctx, nc, origin, wg)
			continue
		}
		<-s.slots
		if ctx.Err() != nil || s.draining.Load() {
			return nil
		}
		if delay = backoff(delay); !passing(err) || !pause(ctx, delay) {
			return err
		}
		s.cfg.Log.Warn("proxy: accept failed, trying again", "err", err, "in", delay)
	}
}

// passing reports whether a failure to accept goes away by itself, as a shortage
// of descriptors does when connections end.
func passing(err error) bool {
	return scarce(err) || errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.EINTR)
}

// scarce reports whether err is that the process, or the host, has no more of something.
func scarce(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ENOSPC} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// sayEvery is how often it is said that something is scarce: whoever uses it up must not
// fill the log, too.
const sayEvery = 10 * time.Second

func (s *Server) sayScarce(err error) {
	now := time.Now()
	s.mu.Lock()
	due := now.Sub(s.said) >= sayEvery
	if due {
		s.said = now
	}
	s.mu.Unlock()
	if due { // whoever adds connections does not wait for the log
		s.cfg.Log.Warn("proxy: connections are closed that can't be waited for", "err", err,
			"fix", "raise the limit of open files (ulimit -n), or fs.epoll.max_user_watches (sysctl)")
	}
}

// backoff grows from 5 ms to 1 s.
func backoff(d time.Duration) time.Duration { return min(max(2*d, 5*time.Millisecond), time.Second) }

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// add counts c; false: Drain, which counts on there being no more, has begun.
func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	s.wg.Add(1)
	c.served.Add(1)
	s.conns[c] = struct{}{}
	c.room = roomFor(len(s.conns))
	return true
}

// serving runs the goroutines of all servers' connections.
var serving = crew.New(64, func(c *conn) { c.srv.run(c) })

// run serves one connection, to its end unless somebody else carries it. A panic
// ends that connection only.
func (s *Server) run(c *conn) {
	lent := false
	defer func() {
		if !lent {
			s.leave(c)
		}
	}()
	defer s.recover("connection")
	lent = c.serve()
}

// leave forgets a connection at its end. After a panic it may come to that twice.
func (s *Server) leave(c *conn) {
	c.cut()
	s.mu.Lock()
	_, here := s.conns[c]
	delete(s.conns, c)
	s.mu.Unlock()
	if !here {
		return
	}
	c.releaseBuffers()
	<-s.slots
	c.served.Done()
	s.wg.Done()
}

// recover logs a panic of the calling goroutine; it must be deferred.
func (s *Server) recover(where string) {
	if p := recover(); p != nil {
		s.cfg.Log.Error("proxy: panic", "in", where, "panic", p, "stack", string(debug.Stack()))
	}
}

// cut closes the connections that match, whatever they are doing.
func (s *Server) cut(match func(*conn) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if match(c) {
			c.cut()
		}
	}
}

// Drain stops accepting, lets requests and tunnels under way end, and closes
// idle connections. It returns nil when all are gone; when ctx is done first it
// cuts the rest and returns ctx's error. The server can't be used again.
func (s *Server) Drain(ctx context.Context) error {
	s.draining.Store(true)
	s.once.Do(func() { close(s.stop) })
	s.mu.Lock() // from here on none is added
	for c := range s.conns {
		c.wakeIdle()
	}
	s.mu.Unlock()
	gone := make(chan struct{})
	go func() {
		if s.cfg.HTTP2 != nil {
			_ = s.cfg.HTTP2.Drain(ctx) // its connections are ours, and ctx the same
		}
		s.wg.Wait()
		close(gone)
	}()
	var err error
	select {
	case <-gone:
	case <-ctx.Done():
		err = ctx.Err()
		s.cut(func(*conn) bool { return true })
		<-gone
	}
	s.pool.close()
	return err
}

// Recheck asks still about every call in flight, tunnels included, and cuts those
// for which it returns a reason; it returns how many. The call passed is not to be
// kept. It serves revocations and policy changes: what was allowed when it began
// does not go on for ever.
func (s *Server) Recheck(still func(c *intent.Call, d verdict.Decision) verdict.Reason) int {
	s.mu.Lock()
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	n := 0
	if s.cfg.HTTP2 != nil {
		n = s.cfg.HTTP2.Recheck(still)
	}
	for _, c := range conns {
		if c.recheck(still) {
			n++
		}
	}
	return n
}

// Conns returns how many connections of the agent are open.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}
