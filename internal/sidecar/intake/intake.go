//go:build unix

// Package intake accepts the connections of a Sidecar that stands alone and tells
// whose each is: a client's of the port itself, a run's that attaches, or one of a
// run that has attached. What a client says about itself in HTTP counts for
// nothing here.
package intake

import (
	"container/list"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"firma/internal/attach"
)

// The bounds of what waits to be told apart.
const (
	maxWaiting = 4096            // connections; one more closes the one that waits longest
	firstByte  = 5 * time.Minute // how long a client may connect ahead of its first request
)

// Config is what New needs; all fields but Guest and Waiting are required.
type Config struct {
	Direct func(net.Conn)                       // takes a client of the port itself
	Guest  func(context.Context, *attach.Guest) // serves an attached run; returns at its end; nil: no run attaches
	Secret string                               // what runs on TCP must know; "" refuses them
	Log    *slog.Logger

	Waiting int // connections whose owner is not known yet, 4096 if 0
}

// Intake serves one listener. Register and Serve are safe for concurrent use.
type Intake struct {
	cfg Config

	mu      sync.Mutex
	runs    map[string]member
	waiting list.List // of net.Conn, the longest waiting first
}

// member is an attached run, to which further connections belong.
type member struct {
	key  attach.Key
	take func(attach.Kind, net.Conn)
}

// New returns an intake.
func New(cfg Config) *Intake {
	if cfg.Waiting <= 0 {
		cfg.Waiting = maxWaiting
	}
	return &Intake{cfg: cfg, runs: map[string]member{}}
}

// Register makes take the owner of the connections that prove to be g's, until
// remove is called.
func (i *Intake) Register(g *attach.Guest, take func(attach.Kind, net.Conn)) (remove func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.runs[g.Name] = member{g.Key, take}
	return func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		delete(i.runs, g.Name)
	}
}

// Serve accepts from ln, which it owns, until ctx ends; then it waits for the
// guests. Any other return is an error of ln.
func (i *Intake) Serve(ctx context.Context, ln net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	local := ln.Addr().Network() == "unix"
	for {
		conn, err := ln.Accept()
		if err == nil {
			if local || !i.atOnce(conn) {
				wg.Go(func() { i.sort(ctx, conn, local) })
			}
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		if !passing(err) {
			return err
		}
		i.cfg.Log.Warn("accept failed, trying again", "err", err)
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// passing reports whether a failure to accept goes away by itself.
func passing(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// wait counts conn among those that are not told apart yet, until done is called.
// Clients that say nothing must not keep runs out, which say whose they are at
// once: beyond the bound, who has said nothing for longest goes.
func (i *Intake) wait(conn net.Conn) (done func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	e := i.waiting.PushBack(conn)
	if i.waiting.Len() > i.cfg.Waiting {
		i.waiting.Remove(i.waiting.Front()).(net.Conn).Close()
	}
	return func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.waiting.Remove(e) // nothing if it is gone already
	}
}

// atOnce passes conn on if its first bytes are there and are a client's: most
// clients speak as soon as they are connected.
func (i *Intake) atOnce(conn net.Conn) bool {
	if ours, known := beginsNow(conn, attach.Magic); ours || !known {
		return false
	}
	i.cfg.Direct(conn)
	return true
}

// sort passes conn on to its owner, or closes it.
func (i *Intake) sort(ctx context.Context, conn net.Conn, local bool) {
	known := i.wait(conn)
	defer known()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	ours, err := i.peek(conn, local)
	if !stop() || err != nil {
		conn.Close()
		return
	}
	if !ours {
		known()
		i.cfg.Direct(conn)
		return
	}
	guest, err := i.admit(conn)
	if err != nil {
		i.cfg.Log.Warn("a connection was refused", "from", conn.RemoteAddr().String(), "err", err)
		conn.Close()
		return
	}
	if guest == nil {
		return
	}
	known()
	defer guest.Close()
	// A guest waits for what its launcher says next: the end of the intake ends that.
	defer context.AfterFunc(ctx, func() { guest.Close() })()
	i.cfg.Guest(ctx, guest)
}

// peek reports whether conn begins as firma's do, and reads nothing of it.
func (i *Intake) peek(conn net.Conn, local bool) (bool, error) {
	if local {
		if err := attach.OwnOrRoot(conn); err != nil {
			return false, err
		}
	}
	_ = conn.SetReadDeadline(time.Now().Add(firstByte))
	ours, err := begins(conn, attach.Magic)
	return ours, errors.Join(err, conn.SetReadDeadline(time.Time{}))
}

// admit reads the first line and answers it. It returns the guest of a run that
// attaches, nil for a connection that has been handed to its run.
func (i *Intake) admit(conn net.Conn) (*attach.Guest, error) {
	_ = conn.SetReadDeadline(time.Now().Add(attach.HandshakeTimeout))
	h, err := attach.ReadHeader(conn)
	if err != nil {
		return nil, err
	}
	if h.Kind == attach.Control && i.cfg.Guest == nil {
		attach.TakesNoRuns(conn)
		return nil, errors.New("a run wanted to attach, which this mode of the interceptor does not allow")
	}
	if h.Kind == attach.Control {
		return attach.Greet(conn, h, i.cfg.Secret)
	}
	i.mu.Lock()
	run, known := i.runs[h.Run]
	i.mu.Unlock()
	if !known {
		attach.Refuse(conn)
		return nil, errors.New("it belongs to no run")
	}
	if err := attach.Admit(conn, h, run.key); err != nil {
		return nil, err
	}
	run.take(h.Kind, conn)
	return nil, nil
}
