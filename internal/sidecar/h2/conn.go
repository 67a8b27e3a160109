package h2

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/net/http2/hpack"

	"firma/internal/intent"
	"firma/internal/sidecar/allowance"
)

const (
	// narrowWindow is how much of a request body is taken before the upstream took
	// it, wideWindow how much where there is memory for it. Clients are near: more
	// would only be memory. Clients may send no less before they read the settings.
	narrowWindow = 64 << 10
	wideWindow   = 128 << 10
	// connWindow bounds nothing that these do not: it is given back as
	// data arrives, so that a stream nobody reads can't starve the others.
	connWindow = 1 << 20
	lingerTime = 500 * time.Millisecond
	linger     = 256 << 10
)

// conn is one connection of the agent. ServeConn's goroutine reads it; each
// stream has a goroutine of its own; whoever has something to write writes.
type conn struct {
	srv  *Server
	ctx  context.Context
	nc   net.Conn
	host string
	port uint16

	// The reader's own.
	in      *bufio.Reader
	dec     *hpack.Decoder
	block   block
	highest uint32 // stream the client opened
	recv    int64  // connection window it may still fill
	owed    int    // of that window, to be given back
	budget  budget

	wg sync.WaitGroup // stream goroutines

	blockHeld allowance.Claim // of the block; the reader's own

	mu       sync.Mutex // guards the rest, and what streams say it guards
	streams  map[uint32]*stream
	running  int // stream goroutines, also of streams that were reset
	resets   resets
	deadline time.Time // of reads; zero for none
	inBlock  bool      // CONTINUATION must follow; only the reader sets it
	leaving  bool      // GOAWAY was sent
	ended    error     // why the connection is over, if it is
	held     allowance.Claim
	writer
}

func newConn(ctx context.Context, s *Server, nc net.Conn, host string, port uint16) *conn {
	c := &conn{
		srv: s, ctx: ctx, nc: nc, host: host, port: port,
		in: bufio.NewReaderSize(nc, headSize+maxFrame), recv: connWindow,
		streams: make(map[uint32]*stream),
	}
	c.held, c.blockHeld = s.cfg.Memory.Claim(), s.cfg.Memory.Claim()
	c.budget.init()
	c.dec = hpack.NewDecoder(4096, c.emit)
	c.dec.SetMaxStringLength(maxHeaderList)
	c.writer.init()
	c.wrote.L = &c.mu
	return c
}

// serve reads frames until the connection ends.
func (c *conn) serve() {
	err := c.start()
	for err == nil {
		err = c.step()
	}
	var bad *connError
	switch {
	case errors.As(err, &bad):
		c.srv.cfg.Enforcer.Malformed(c.ctx, intent.HTTPS, "HTTP/2: "+bad.why)
		c.farewell(bad.code)
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.farewell(codeNone)
	}
}

func (c *conn) start() error {
	c.mu.Lock()
	c.setDeadline(time.Now().Add(c.srv.cfg.HeadTimeout))
	c.out = appendSettings(c.out,
		[2]uint32{settingMaxStreams, uint32(c.srv.cfg.MaxStreams)}, [2]uint32{settingInitialWindow, narrowWindow},
		[2]uint32{settingMaxHeaderList, maxHeaderList}, [2]uint32{settingConnect, 1})
	c.out = appendWindow(c.out, 0, connWindow-defaultWin)
	c.kick()
	c.mu.Unlock()
	p, err := c.peek(len(preface))
	if len(p) > 0 && !bytes.HasPrefix([]byte(preface), p) {
		return violation(codeProtocol, "the connection does not start with the preface")
	}
	if err != nil {
		return err
	}
	c.in.Discard(len(preface))
	f, err := c.next()
	if err != nil {
		return err
	}
	if f.kind != frameSettings || f.has(flagEnd) {
		return violation(codeProtocol, "the first frame is not SETTINGS")
	}
	defer c.restDeadline()
	return c.receive(&f)
}

func (c *conn) step() error {
	f, err := c.next()
	if err != nil {
		return err
	}
	return c.receive(&f)
}

// next returns the next frame; its payload is valid until the call after.
func (c *conn) next() (frame, error) {
	b, err := c.peek(headSize)
	if err != nil {
		return frame{}, err
	}
	size := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
	f := frame{kind: b[3], flags: b[4], id: binary.BigEndian.Uint32(b[5:]) & idMask}
	if size > maxFrame {
		return f, violation(codeFrameSize, "a frame is larger than the limit")
	}
	if b, err = c.peek(headSize + size); err != nil {
		return f, err
	}
	f.payload = b[headSize:]
	c.in.Discard(headSize + size) // leaves the bytes where they are
	return f, nil
}

// peek waits for n bytes. A deadline that was moved while it waited is no error.
func (c *conn) peek(n int) ([]byte, error) {
	for {
		b, err := c.in.Peek(n)
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return b, err
		}
		c.mu.Lock()
		expired := !c.deadline.IsZero() && !time.Now().Before(c.deadline)
		inBlock := c.inBlock
		c.mu.Unlock()
		if expired && inBlock {
			return b, violation(codeCalm, "a header block did not arrive in time")
		}
		if expired {
			return b, err
		}
	}
}

// setDeadline needs c.mu.
func (c *conn) setDeadline(t time.Time) {
	c.deadline = t
	c.nc.SetReadDeadline(t)
}

// restDeadline sets the deadline of a connection between frames.
func (c *conn) restDeadline() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.restDeadlineLocked()
}

func (c *conn) restDeadlineLocked() {
	switch {
	case c.inBlock: // it has its own
	case c.running > 0:
		if !c.deadline.IsZero() {
			c.setDeadline(time.Time{})
		}
	case c.leaving:
		c.setDeadline(past)
	default:
		c.setDeadline(time.Now().Add(c.srv.cfg.IdleTimeout))
	}
}

var past = time.Unix(1, 0)

// drain asks the client to send no more requests. The connection ends with its
// last stream.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving || c.ended != nil {
		return
	}
	c.leaving = true
	c.out = appendGoAway(c.out, c.lastID, codeNone)
	c.kick()
	c.restDeadlineLocked()
}

// farewell ends the connection in a way that the client can learn of.
func (c *conn) farewell(code uint32) {
	c.mu.Lock()
	if !c.leaving || code != codeNone {
		c.out = appendGoAway(c.out, c.lastID, code)
	}
	c.leaving = true
	streams := c.listLocked()
	c.mu.Unlock()
	for _, st := range streams {
		st.stop(errClientLeft, codeCancel)
	}
	c.nc.SetWriteDeadline(time.Now().Add(lingerTime))
	c.mu.Lock()
	c.lastWords = true
	for c.writing {
		c.wrote.Wait()
	}
	c.flush()
	c.mu.Unlock()
	if h, ok := c.nc.(interface{ CloseWrite() error }); ok && h.CloseWrite() == nil {
		c.nc.SetReadDeadline(time.Now().Add(lingerTime))
		io.CopyN(io.Discard, c.nc, linger)
	}
}

// cut ends the connection and all streams at once.
func (c *conn) cut(cause error) {
	c.mu.Lock()
	if c.ended == nil {
		c.ended = cause
	}
	streams := c.listLocked()
	c.mu.Unlock()
	c.closeNow()
	for _, st := range streams {
		st.stop(cause, codeCancel)
	}
}

// closeNow closes without a TLS alert, for which a client that reads nothing would
// have to be waited for.
func (c *conn) closeNow() {
	if t, ok := c.nc.(interface{ NetConn() net.Conn }); ok {
		t.NetConn().Close()
		return
	}
	c.nc.Close()
}

func (c *conn) listLocked() []*stream {
	list := make([]*stream, 0, len(c.streams))
	for _, st := range c.streams {
		list = append(list, st)
	}
	return list
}

// dispatched returns the streams whose call was allowed.
func (c *conn) dispatched() []*stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*stream
	for _, st := range c.streams {
		if st.active {
			list = append(list, st)
		}
	}
	return list
}
