package h2

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"

	"firma/internal/intent"
	"firma/internal/sidecar/allowance"
	"firma/internal/sidecar/http1"
	"firma/internal/verdict"
)

// maxDiscard is how much of a body is taken that nobody wants.
const maxDiscard = 1 << 20

// stream is one request of the client. Its goroutine judges and carries it out
// (dispatch.go).
type stream struct {
	c      *conn
	id     uint32
	head   head
	call   intent.Call
	ctx    context.Context
	cancel context.CancelCauseFunc
	// badResponse is what was wrong with the head of an HTTP/1.1 upstream's response.
	badResponse atomic.Pointer[http1.Error]

	// conn.mu guards the rest.
	cond        sync.Cond // something below changed
	judged      verdict.Decision
	active      bool  // the call was allowed and is under way
	window      int64 // what the client takes
	localEnded  bool
	remoteEnded bool
	err         error // why the stream is over, if it is
	interims    int

	ahead    []byte // of the body, that was read before the call was judged
	body     []byte // that came and was not read
	at       int    // of it, that was read
	open     int    // window the client may still fill
	owed     int    // of it, to be given back
	received int64
	sent     int64
	begins   http1.Opening // what was read of the body
	trailer  []hpack.HeaderField
	unwanted bool // nobody reads the body any more
	tooLong  bool // there is more of it than MaxBody

	held allowance.Claim // for head, window and trailers
	wide bool            // the client may send more ahead

	pushed allowance.Claim // for the commands of a push; the goroutine's own
}

// take accepts content of the request; size counts the padding. It needs c.mu.
func (st *stream) take(p []byte, size int, end bool) {
	if st.open -= size; st.open < 0 {
		st.resetLocked(&bodyError{"more data than the stream's window"}, codeFlow)
		return
	}
	st.received += int64(len(p))
	if n := st.head.length; n >= 0 && (st.received > n || end && st.received < n) {
		st.resetLocked(&bodyError{"it is not as long as Content-Length says"}, codeProtocol)
		return
	}
	if most := st.c.srv.cfg.MaxBody; most > 0 && st.received > most && st.head.protocol == "" {
		st.tooLong, st.unwanted = true, true
		st.body, st.at = nil, 0
	}
	if st.remoteEnded = end; st.unwanted {
		st.discard(size)
		return
	}
	if st.at > 0 && len(st.body)+len(p) > cap(st.body) {
		st.body = st.body[:copy(st.body, st.body[st.at:])]
		st.at = 0
	}
	st.body = append(st.body, p...)
	st.owed += size - len(p)
	st.cond.Broadcast()
}

// discard gives the window of what nobody reads back, up to a limit. It needs c.mu.
func (st *stream) discard(size int) {
	st.owed += size
	if st.owed >= narrowWindow/2 && !st.remoteEnded && st.received < maxDiscard {
		st.c.out = appendWindow(st.c.out, st.id, st.owed)
		st.open += st.owed
		st.owed = 0
		st.c.kick()
	}
	st.cond.Broadcast()
}

// linger gives a client that was answered before it had sent everything the time
// to find out: some take a reset for a failure even when they have the answer.
func (st *stream) linger() {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if !st.localEnded || st.remoteEnded || st.err != nil {
		return
	}
	st.unwanted = true
	st.discard(len(st.body) - st.at)
	st.body, st.at = nil, 0
	over := false
	timer := time.AfterFunc(lingerTime, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		over = true
		st.cond.Broadcast()
	})
	defer timer.Stop()
	for !over && !st.remoteEnded && st.err == nil {
		st.cond.Wait()
	}
}

// Read is the request's body for the upstream's client.
func (st *stream) Read(p []byte) (int, error) {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.tooLong {
		return 0, errTooLong
	}
	if len(st.ahead) > 0 && st.err == nil && !st.unwanted {
		n := copy(p, st.ahead)
		st.begins.Add(p[:n])
		st.ahead = st.ahead[n:]
		return n, nil
	}
	for st.err == nil && !st.unwanted && st.at == len(st.body) && !st.remoteEnded {
		st.cond.Wait()
	}
	switch {
	case st.tooLong:
		return 0, errTooLong
	case st.err != nil:
		return 0, st.err
	case st.unwanted:
		return 0, errDone
	case st.at == len(st.body):
		st.body = nil
		return 0, io.EOF
	}
	n := copy(p, st.body[st.at:])
	st.begins.Add(p[:n])
	if st.at += n; st.at == len(st.body) {
		st.body, st.at = st.body[:0], 0
	}
	st.sent += int64(n)
	if st.owed += n; st.owed >= narrowWindow/2 && !st.remoteEnded {
		st.widen()
		c.out = appendWindow(c.out, st.id, st.owed)
		st.open += st.owed
		st.owed = 0
		c.kick()
	}
	return n, nil
}

func (st *stream) isTooLong() bool {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	return st.tooLong
}

// Close says that the upstream's client wants no more of the body.
func (st *stream) Close() error {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.unwanted = true
	st.cond.Broadcast()
	return nil
}

// stop ends the stream from this side, if it has not ended; cause is what its
// goroutine finds.
func (st *stream) stop(cause error, code uint32) bool {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	return st.resetLocked(cause, code)
}

func (st *stream) resetLocked(cause error, code uint32) bool {
	if st.err != nil {
		return false
	}
	if !st.localEnded || !st.remoteEnded {
		st.c.resetLocked(st.id, code)
	}
	st.goneLocked(cause)
	return true
}

// violatedLocked is resetLocked after a frame that must not come on this stream:
// the client is told even if the stream has ended both ways, though it may be
// that its goroutine has not noticed.
func (st *stream) violatedLocked(why string, code uint32) {
	st.c.resetLocked(st.id, code)
	st.goneLocked(&bodyError{why})
}

// goneLocked takes the stream out of the connection; its goroutine may still run.
func (st *stream) goneLocked(cause error) {
	if st.err != nil {
		return
	}
	st.err = cause
	delete(st.c.streams, st.id)
	st.body, st.at = nil, 0
	st.cancel(cause)
	st.cond.Broadcast()
}

// begin marks the dispatch as under way; false if the stream is over already.
func (st *stream) begin(d verdict.Decision) bool {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.active, st.judged = true, d
	return st.err == nil
}

// end marks it as over and returns why the stream was cut, if it was, and how much
// of the body was sent.
func (st *stream) end() (sent int64, cause error) {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.active = false
	return st.sent, st.err
}

// goesOn reports whether nobody but the client can have ended the stream.
func (st *stream) goesOn() bool {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	return st.err == nil || st.err == errClientLeft
}

func (st *stream) clientLeft() bool {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	return st.err == errClientLeft
}

// finish ends the stream's goroutine: a response that is not complete is reset
// with code.
func (st *stream) finish(code uint32) {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.localEnded {
		code = codeNone // the rest of the request is not wanted
		c.budget.earn(earnStream)
	}
	st.resetLocked(errDone, code)
	st.ahead = nil
	st.held.Release()
	st.pushed.Release()
	if c.running--; c.running == 0 {
		c.held.Release()
		c.restDeadlineLocked()
		if len(c.out) == 0 {
			c.release()
		}
	}
}

func (c *conn) resetLocked(id, code uint32) {
	c.out = appendReset(c.out, id, code)
	c.resets.add(id)
	c.kick()
}
