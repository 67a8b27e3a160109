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
	begins   *http1.Opening
	done     chan struct{}
	complete atomic.Bool // the whole request was sent, or its last write is under way
	pumped   atomic.Bool // nothing more will be sent
	stopping atomic.Bool
	sent     atomic.Int64 // bytes of the body

	err error // why it closed the upstream connection, if it did; valid once done is closed
}

// watch starts the goroutine.
func (x *exchange) watch() {
	w := &client{c: x.c, u: x.u, body: &x.body, begins: &x.begins, done: make(chan struct{}), chunked: x.c.req.Framing == http1.Chunked}
	w.up.to, w.up.join = x.u.nc, x.u.key.tls
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
	if err != nil {
		w.complete.Store(false)
	}
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
	under(w.u.nc).Close()
}

// pump sends what is left of the request body, each piece as soon as it is there.
func (w *client) pump() error {
	for !w.pumped.Load() {
		p, err := w.body.Next()
		switch {
		case p != nil:
			w.sent.Add(int64(len(p)))
			w.begins.Add(p)
			if w.body.Ended() { // the answer may come before the write returns
				w.complete.Store(true)
			}
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

// finish sends what is collected and ends a chunked body. Its trailers are
// dropped: a server that merges them into the header fields would act on what
// nobody judged.
func (w *client) finish() error {
	w.complete.Store(true)
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
// says false; the upstream connection is of no more use then.
func (w *client) stop() (complete bool) {
	w.stopping.Store(true)
	switch { // it may be blocked in a write
	case w.pumped.Load():
	case w.complete.Load():
		w.u.nc.SetWriteDeadline(time.Now().Add(lingerTime))
		defer w.u.nc.SetWriteDeadline(time.Time{})
	default:
		under(w.u.nc).Close()
	}
	w.c.raw.SetReadDeadline(past)
	<-w.done
	w.c.setReadDeadline(time.Time{})
	return w.complete.Load() && w.err == nil
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
