package h2

import (
	"context"
	"sync"

	"firma/internal/intent"
)

// endBlock takes a whole header block: a request, or the trailers of one.
func (c *conn) endBlock(p []byte) error {
	if err := c.decode(p); err != nil {
		return err
	}
	b := &c.block
	if st := c.stream(b.id); st != nil {
		return c.trailers(st)
	}
	if b.id <= c.highest {
		c.mu.Lock()
		ours := c.resets.has(b.id)
		c.mu.Unlock()
		if ours {
			return c.budget.spend(costFrame)
		}
		return violation(codeClosed, "HEADERS for a closed stream")
	}
	c.highest = b.id
	return c.open()
}

// open begins a stream, if it may be.
func (c *conn) open() error {
	b := &c.block
	c.mu.Lock()
	leaving, busy := c.leaving, c.running >= c.srv.cfg.MaxStreams
	if !leaving {
		c.lastID = b.id
	}
	c.mu.Unlock()
	switch {
	case leaving: // GOAWAY told the client that it may try elsewhere
		return c.budget.spend(costRefused)
	case busy:
		c.refuse(b.id, codeRefused)
		return c.budget.spend(costRefused)
	}
	why := b.malformed
	if why == "" && !b.tooLong {
		why = b.complete()
	}
	if b.self {
		why = "a stream depends on itself"
	}
	if why != "" {
		c.srv.cfg.Enforcer.Malformed(c.ctx, intent.HTTPS, why)
		c.refuse(b.id, codeProtocol)
		return c.budget.spend(costRefused)
	}
	st := &stream{c: c, id: b.id, head: b.head, remoteEnded: b.end, open: narrowWindow, held: c.srv.cfg.Memory.Claim()}
	st.head.bodyless = b.end
	b.head = head{}
	c.mu.Lock()
	room := c.running > 0 || c.held.Hold(memOutput)
	c.mu.Unlock()
	if !room || !st.claim(b.size) {
		return c.turnAway(st)
	}
	st.ctx, st.cancel = context.WithCancelCause(c.ctx)
	c.mu.Lock()
	st.cond = sync.Cond{L: &c.mu}
	st.window = c.initial
	c.streams[st.id] = st
	c.running++
	c.restDeadlineLocked()
	c.mu.Unlock()
	c.wg.Go(st.run)
	return nil
}

// trailers takes the header block that ends a request.
func (c *conn) trailers(st *stream) error {
	b := &c.block
	why := b.malformed
	switch {
	case b.seen != 0:
		why = "a pseudo-header field in trailers"
	case b.tooLong:
		why = "the trailers are too long"
	case !b.end:
		why = "a header block within a body"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case st.remoteEnded:
		st.violatedLocked("HEADERS after the end of the stream", codeClosed)
		return c.budget.spend(costRefused)
	case why != "":
		st.violatedLocked(why, codeProtocol)
		return c.budget.spend(costRefused)
	}
	if !st.held.Hold(st.held.Held() + b.size) {
		st.resetLocked(errNoRoom, codeCalm)
		return c.budget.spend(costRefused)
	}
	st.trailer = b.fields
	b.fields = nil
	st.take(nil, 0, true)
	return nil
}
