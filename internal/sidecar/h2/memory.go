package h2

import (
	"context"
	"errors"

	"firma/internal/sidecar/refusal"
	"firma/internal/verdict"
)

// What is held on the session's behalf, in bytes. Each is claimed before a client
// could fill it.
const (
	memOutput = 2*highWater + maxFrame // of a connection with streams: what is collected, and what is being written
	memBlock  = maxBlock               // of a header block in pieces
	memStream = 8 << 10                // of a goroutine's stack
	memWindow = narrowWindow + narrowWindow/4
	memPush   = 4 // of each byte of a push's commands, which are kept, parsed and sent

	// memSend is at most what net/http's client sends a body of unknown length
	// from.
	memSend = 512 << 10
	// memCopy is for the buffers of a dispatch besides the response's window.
	memCopy = 2 * copySize
)

var errNoRoom = errors.New("h2: " + refusal.NoMemory)

// claim holds what the stream's head costs, and the window for its body.
func (st *stream) claim(size int) bool {
	n := memStream + size
	if !st.head.bodyless {
		n += memWindow
	}
	return st.held.Hold(n)
}

// noRoom refuses the request; prior is as Refuse takes it.
func (st *stream) noRoom(prior verdict.Decision) uint32 {
	return st.refuse(prior, verdict.SessionMemoryExhausted, refusal.NoMemory)
}

// widen lets the client send more of the body ahead, if there is room for it. It
// needs c.mu.
func (st *stream) widen() {
	if st.wide || !st.held.Hold(st.held.Held()+memWindow) {
		return
	}
	st.wide = true
	st.owed += wideWindow - narrowWindow
}

// admit holds what the dispatch costs, and settles how much of the response may be
// held: all that makes it fast while half of the session's memory is free, else
// what it takes at least. It waits for room as long as connecting may take.
func (x *exchange) admit() bool {
	n := memCopy
	if h := &x.head; !h.bodyless && h.protocol == "" {
		if h.length >= 0 {
			n += int(min(h.length+1, memSend))
		} else {
			n += memSend
		}
	}
	x.held = x.c.srv.cfg.Memory.Claim()
	if x.head.protocol == "" && x.held.HoldHalf(n+upstreamWindow) {
		return true
	}
	if x.lean = true; x.held.Hold(n + leanWindow) {
		return true
	}
	ctx, cancel := context.WithTimeout(x.ctx, x.c.srv.cfg.ConnectTimeout)
	defer cancel()
	return x.held.Wait(ctx, n+leanWindow)
}

// turnAway refuses the request of a block for which there is no room, without a
// stream of its own: what is refused for want of memory must not take any.
func (c *conn) turnAway(st *stream) error {
	call, prior := &st.call, verdict.Decision{}
	if st.read() != nil {
		call, prior.Resource = nil, c.host
	}
	d := refusal.Settle(c.srv.cfg.Enforcer.Refuse(c.ctx, call, prior, verdict.SessionMemoryExhausted, refusal.NoMemory))
	fields, body := answer(d)
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := int64(len(body)); len(c.out) < highWater && c.window >= n && c.initial >= n && st.head.method != "HEAD" {
		st.appendHead(fields, false)
		c.out = append(appendFrame(c.out, len(body), frameData, flagEnd, st.id), body...)
		c.window -= n
		if st.head.bodyless {
			c.kick()
		} else {
			c.resetLocked(st.id, codeNone) // the body is not wanted
		}
	} else {
		c.resetLocked(st.id, codeRefused)
	}
	return c.budget.spend(costRefused)
}

// releaseMemory gives back what the connection held itself. All its streams are over.
func (c *conn) releaseMemory() {
	c.blockHeld.Release()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held.Release()
}
