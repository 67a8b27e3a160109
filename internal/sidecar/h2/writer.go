package h2

import (
	"bytes"
	"sync"
	"time"

	"golang.org/x/net/http2/hpack"
)

const (
	// highWater is how much output may wait before streams wait, too.
	highWater = 64 << 10
	// maxWaiting is how much may wait with what the protocol makes us answer: a
	// client that reads nothing of it is disconnected.
	maxWaiting = 256 << 10
	keepOut    = 32 << 10
)

// writer is a connection's output; conn.mu guards it. One goroutine at a time
// writes what all have collected.
type writer struct {
	out, spare []byte
	writing    bool
	wrote      sync.Cond // writing became false
	broken     bool
	lastWords  bool // the deadline of writes is set for good
	enc        *hpack.Encoder
	encoded    bytes.Buffer
	window     int64 // of the connection
	initial    int64 // window of new streams
	lastID     uint32
}

func (w *writer) init() {
	w.enc = hpack.NewEncoder(&w.encoded)
	w.window, w.initial = defaultWin, defaultWin
}

// release gives back the buffers of a connection that is idle.
func (w *writer) release() {
	if !w.writing {
		w.out, w.spare = nil, nil
		w.encoded = bytes.Buffer{}
	}
}

// kick has a goroutine write what is collected; it never waits.
func (c *conn) kick() {
	if !c.writing && !c.broken && len(c.out) > 0 {
		c.writing = true
		go c.writeAll()
	}
}

// control is kick after an answer that the protocol demands.
func (c *conn) control() error {
	if len(c.out) > maxWaiting {
		return violation(codeCalm, "the client reads nothing")
	}
	c.kick()
	return nil
}

func (c *conn) writeAll() {
	defer c.srv.recover("writer")
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.out) > 0 && !c.broken {
		c.writeOut()
	}
	c.writing = false
	c.wrote.Broadcast()
}

// flush writes what is collected, unless somebody is at it.
func (c *conn) flush() {
	if c.writing || c.broken || len(c.out) == 0 {
		return
	}
	c.writing = true
	c.writeOut()
	c.writing = false
	c.wrote.Broadcast()
	c.kick()
}

// writeOut writes without c.mu, which is held before and after.
func (c *conn) writeOut() {
	b := c.out
	c.out, c.spare = c.spare[:0], nil
	last := c.lastWords
	c.mu.Unlock()
	if !last {
		c.nc.SetWriteDeadline(time.Now().Add(c.srv.cfg.IdleTimeout))
	}
	_, err := c.nc.Write(b)
	c.mu.Lock()
	if cap(b) <= keepOut {
		c.spare = b[:0]
	}
	if err != nil {
		c.broken = true
		c.out = nil
		c.closeNow() // the reader ends the rest
	}
	c.wake()
}

// wake lets streams look again whether they can write.
func (c *conn) wake() {
	for _, st := range c.streams {
		st.cond.Broadcast()
	}
}

// writeHead sends a header block; a final one with end ends the stream. Nothing
// waits: what follows soon leaves together with it.
func (st *stream) writeHead(fields []hpack.HeaderField, end bool) error {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for st.err == nil && !c.broken && len(c.out) >= highWater {
		st.cond.Wait()
	}
	if st.err != nil {
		return st.err
	}
	st.appendHead(fields, end)
	c.kick()
	return nil
}

func (st *stream) appendHead(fields []hpack.HeaderField, end bool) {
	c := st.c
	c.encoded.Reset()
	for _, f := range fields {
		c.enc.WriteField(f)
	}
	flags := byte(0)
	if end {
		flags = flagEnd
		st.localEnded = true
	}
	kind := byte(frameHeaders)
	for b := c.encoded.Bytes(); ; kind, flags = frameContinuation, 0 {
		n := min(len(b), maxFrame)
		if n == len(b) {
			flags |= flagEndHeaders
		}
		c.out = append(appendFrame(c.out, n, kind, flags, st.id), b[:n]...)
		if b = b[n:]; len(b) == 0 {
			return
		}
	}
}

// writeInterim sends a 1xx if there is room for it and it is not too late; it
// never waits, since it is called by who reads for other streams, too.
func (st *stream) writeInterim(fields []hpack.HeaderField) {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.interims++; st.err != nil || st.interims > maxInterims || len(c.out) >= highWater {
		return
	}
	st.appendHead(fields, false)
	c.kick()
}

// writeData sends content; it waits for the client's windows. soon says that more
// follows at once.
func (st *stream) writeData(p []byte, end, soon bool) error {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		for st.err == nil && !c.broken && (len(c.out) >= highWater || len(p) > 0 && (c.window <= 0 || st.window <= 0)) {
			c.kick()
			st.cond.Wait()
		}
		if st.err != nil {
			return st.err
		}
		if c.broken {
			return errClientLeft
		}
		n := len(p)
		if n > 0 {
			n = int(min(int64(n), maxFrame, c.window, st.window))
		}
		flags := byte(0)
		if n == len(p) && end {
			flags = flagEnd
			st.localEnded = true
		}
		c.out = append(appendFrame(c.out, n, frameData, flags, st.id), p[:n]...)
		c.window -= int64(n)
		st.window -= int64(n)
		c.budget.earn(earnData)
		if p = p[n:]; len(p) == 0 {
			if soon {
				c.kick()
			} else {
				c.flush()
			}
			return nil
		}
		if len(c.out) >= highWater/2 {
			c.flush()
		}
	}
}
