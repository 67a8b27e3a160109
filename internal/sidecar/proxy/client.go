package proxy

import (
	"errors"
	"io"
	"runtime/debug"
	"sync/atomic"
	"time"

	"firma/internal/sidecar/http1"
)

// client is the goroutine that looks after the agent's side of an exchange: it
// sends the rest of the request body upstream, then waits for the agent to go
// away, which ends the dispatch. While it runs, the connection's reader and the
// request's slices are its own.
type client struct {
	c        *conn
	u        *upstream
	body     *http1.Body
	up       sink
	chunked  bool
	done     chan struct{}
	complete atomic.Bool // the whole request was sent
	pumped   atomic.Bool // nothing more will be sent; set after complete
	stopping atomic.Bool

	// Valid once done is closed.
	sent int64 // bytes of the body
	err  error // why it closed the upstream connection, if it did
}

// watch starts the goroutine.
func (x *exchange) watch() {
	w := &client{c: x.c, u: x.u, body: &x.body, done: make(chan struct{}), chunked: x.c.req.Framing == http1.Chunked}
	w.up.to = x.u.nc
	w.complete.Store(x.inline)
	w.pumped.Store(x.inline)
	x.watched = w
	x.c.setReadDeadline(time.Time{})
	go w.run()
}

func (w *client) run() {
	defer close(w.done)
	defer func() {
		if p := recover(); p != nil {
			w.c.srv.cfg.Log.Error("proxy: panic", "in", "request body", "panic", p, "stack", string(debug.Stack()))
			w.fail(errors.New("internal error"))
		}
	}()
	defer w.up.release()
	err := w.pump()
	w.complete.Store(err == nil)
	w.pumped.Store(true)
	var send *sendError
	switch {
	case errors.As(err, &send):
		return // the upstream may have answered already; its reader will see
	case err == nil:
		err = w.wait()
	}
	if err != nil && !w.stopping.Load() {
		w.fail(err)
	}
}

func (w *client) fail(err error) {
	w.err = err
	w.u.nc.Close()
}

// pump sends what is left of the request body, each piece as soon as it is there.
func (w *client) pump() error {
	for !w.complete.Load() {
		p, err := w.body.Next()
		switch {
		case p != nil:
			w.sent += int64(len(p))
			if err := w.up.content(p, w.chunked); err != nil {
				return &sendError{err, 0}
			}
		case err == io.EOF:
			return w.finish()
		case err != nil:
			return err
		default:
			if err := w.up.flush(); err != nil {
				return &sendError{err, 0}
			}
			if err := w.body.Fill(); err != nil {
				return &clientError{err}
			}
		}
	}
	return nil
}

// finish ends a chunked body. Its trailers are dropped: a server that merges them
// into the header fields would act on what nobody judged.
func (w *client) finish() error {
	if w.chunked {
		w.up.put(append(w.up.bytes(), http1.LastChunk...))
	}
	if err := w.up.flush(); err != nil {
		return &sendError{err, 0}
	}
	return nil
}

// wait reads ahead until the agent goes away. A pipelined request stays in the
// buffer; one that fills it ends the watch.
func (w *client) wait() error {
	for len(w.c.in.Buffered()) < sinkSize {
		if err := w.c.in.Fill(); err != nil {
			return &clientError{err}
		}
	}
	return nil
}

// stop ends the goroutine and waits for it. The request was not complete if it
// says false; the upstream connection is closed then.
func (w *client) stop() (complete bool) {
	pumped := w.pumped.Load()
	w.stopping.Store(true)
	if !pumped {
		w.u.nc.Close() // it may be blocked in a write
	}
	w.c.nc.SetReadDeadline(past)
	<-w.done
	w.c.setReadDeadline(time.Time{})
	return pumped && w.complete.Load() && w.err == nil
}

// clientError marks a failure on the agent's side of an exchange.
type clientError struct{ error }

func (e *clientError) Unwrap() error { return e.error }

// sendError marks a failure to send the request upstream after n bytes.
type sendError struct {
	error
	n int
}

func (e *sendError) Unwrap() error { return e.error }
