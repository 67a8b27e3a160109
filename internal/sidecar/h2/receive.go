package h2

import (
	"encoding/binary"
	"time"

	"firma/internal/sidecar/refusal"
)

func (c *conn) receive(f *frame) error {
	if c.inBlock && f.kind != frameContinuation {
		return violation(codeProtocol, "a header block is interrupted by another frame")
	}
	switch f.kind {
	case frameData:
		return c.onData(f)
	case frameHeaders:
		return c.onHeaders(f)
	case framePriority:
		return c.onPriority(f)
	case frameReset:
		return c.onReset(f)
	case frameSettings:
		return c.onSettings(f)
	case framePush:
		return violation(codeProtocol, "a client pushes")
	case framePing:
		return c.onPing(f)
	case frameGoAway:
		if f.id != 0 || len(f.payload) < 8 {
			return violation(codeProtocol, "a GOAWAY frame is malformed")
		}
		return c.budget.spend(costFrame)
	case frameWindow:
		return c.onWindow(f)
	case frameContinuation:
		return c.onContinuation(f)
	}
	return c.budget.spend(costFrame) // unknown frames are ignored
}

// idle reports whether the client never opened the stream.
func (c *conn) idle(id uint32) bool { return id > c.highest || id%2 == 0 }

func (c *conn) stream(id uint32) *stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.streams[id]
}

func (c *conn) onData(f *frame) error {
	if f.id == 0 || c.idle(f.id) {
		return violation(codeProtocol, "DATA for a stream that is not open")
	}
	p, err := f.unpad()
	if err != nil {
		return err
	}
	if err := c.credit(len(f.payload)); err != nil {
		return err
	}
	if len(p) == 0 && !f.has(flagEnd) {
		if err := c.budget.spend(costFrame); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.streams[f.id]
	switch {
	case st == nil && c.resets.has(f.id):
		return c.budget.spend(costWindow)
	case st == nil:
		c.resetLocked(f.id, codeClosed)
		return c.budget.spend(costRefused)
	case st.remoteEnded:
		st.violatedLocked("DATA after the end of the stream", codeClosed)
		return c.budget.spend(costRefused)
	}
	st.take(p, len(f.payload), f.has(flagEnd))
	return nil
}

// credit accounts for the connection's window and gives it back at once.
func (c *conn) credit(n int) error {
	if c.recv -= int64(n); c.recv < 0 {
		return violation(codeFlow, "more data than the connection's window")
	}
	if c.owed += n; c.owed < connWindow/4 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = appendWindow(c.out, 0, c.owed)
	c.recv += int64(c.owed)
	c.owed = 0
	return c.control()
}

func (c *conn) onPriority(f *frame) error {
	if f.id == 0 {
		return violation(codeProtocol, "PRIORITY without a stream")
	}
	switch {
	case len(f.payload) != 5:
		c.refuse(f.id, codeFrameSize)
	case binary.BigEndian.Uint32(f.payload)&idMask == f.id:
		c.refuse(f.id, codeProtocol)
	}
	return c.budget.spend(costFrame)
}

// refuse is a stream error: the stream ends, if it is open.
func (c *conn) refuse(id, code uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if st := c.streams[id]; st != nil {
		st.violatedLocked("a malformed frame", code)
		return
	}
	c.resetLocked(id, code)
}

func (c *conn) onReset(f *frame) error {
	switch {
	case f.id == 0 || c.idle(f.id):
		return violation(codeProtocol, "RST_STREAM for a stream that is not open")
	case len(f.payload) != 4:
		return violation(codeFrameSize, "RST_STREAM has a wrong size")
	}
	c.mu.Lock()
	if st := c.streams[f.id]; st != nil {
		st.goneLocked(errClientLeft)
	}
	c.mu.Unlock()
	return c.budget.spend(costReset)
}

func (c *conn) onPing(f *frame) error {
	switch {
	case f.id != 0:
		return violation(codeProtocol, "PING on a stream")
	case len(f.payload) != 8:
		return violation(codeFrameSize, "PING has a wrong size")
	case f.has(flagEnd):
		return c.budget.spend(costFrame)
	}
	c.mu.Lock()
	c.out = append(appendFrame(c.out, 8, framePing, flagEnd, 0), f.payload...)
	err := c.control()
	c.mu.Unlock()
	if err != nil {
		return err
	}
	return c.budget.spend(costFrame)
}

func (c *conn) onWindow(f *frame) error {
	if len(f.payload) != 4 {
		return violation(codeFrameSize, "WINDOW_UPDATE has a wrong size")
	}
	if f.id != 0 && c.idle(f.id) {
		return violation(codeProtocol, "WINDOW_UPDATE for a stream that is not open")
	}
	n := int64(binary.BigEndian.Uint32(f.payload) & idMask)
	if err := c.budget.spend(costWindow); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.id == 0 {
		if c.window += n; n == 0 || c.window > maxWindow {
			return violation(windowCode(n), "WINDOW_UPDATE with a wrong increment")
		}
		c.wake()
		return nil
	}
	st := c.streams[f.id]
	if st == nil {
		return nil
	}
	if st.window += n; n == 0 || st.window > maxWindow {
		st.violatedLocked("WINDOW_UPDATE with a wrong increment", windowCode(n))
		return nil
	}
	st.cond.Broadcast()
	return nil
}

func windowCode(n int64) uint32 {
	if n == 0 {
		return codeProtocol
	}
	return codeFlow
}

func (c *conn) onSettings(f *frame) error {
	switch {
	case f.id != 0:
		return violation(codeProtocol, "SETTINGS on a stream")
	case f.has(flagEnd) && len(f.payload) > 0, len(f.payload)%6 != 0:
		return violation(codeFrameSize, "SETTINGS has a wrong size")
	case f.has(flagEnd):
		return c.budget.spend(costFrame)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for p := f.payload; len(p) > 0; p = p[6:] {
		if err := c.setting(binary.BigEndian.Uint16(p), binary.BigEndian.Uint32(p[2:])); err != nil {
			return err
		}
	}
	c.out = appendFrame(c.out, 0, frameSettings, flagEnd, 0)
	if err := c.control(); err != nil {
		return err
	}
	return c.budget.spend(costSettings + len(f.payload)/6)
}

func (c *conn) setting(id uint16, v uint32) error {
	switch id {
	case settingTableSize:
		c.enc.SetMaxDynamicTableSize(min(v, 4096))
	case settingPush:
		if v > 1 {
			return violation(codeProtocol, "ENABLE_PUSH is neither 0 nor 1")
		}
	case settingInitialWindow:
		if v > maxWindow {
			return violation(codeFlow, "INITIAL_WINDOW_SIZE is too large")
		}
		delta := int64(v) - c.initial
		c.initial = int64(v)
		for _, st := range c.streams {
			if st.window += delta; st.window > maxWindow {
				return violation(codeFlow, "INITIAL_WINDOW_SIZE overflows a window")
			}
		}
		c.wake()
	case settingMaxFrame:
		if v < maxFrame || v > 1<<24-1 {
			return violation(codeProtocol, "MAX_FRAME_SIZE is out of range")
		}
	}
	return nil
}

// onHeaders begins a header block.
func (c *conn) onHeaders(f *frame) error {
	if f.id == 0 || f.id%2 == 0 {
		return violation(codeProtocol, "HEADERS for a stream that no client opens")
	}
	p, err := f.unpad()
	if err != nil {
		return err
	}
	self := false
	if f.has(flagPriority) {
		if len(p) < 5 {
			return violation(codeProtocol, "HEADERS is too short for its priority")
		}
		self = binary.BigEndian.Uint32(p)&idMask == f.id
		p = p[5:]
	}
	c.block.begin(f.id, f.has(flagEnd), self)
	if f.has(flagEndHeaders) {
		return c.endBlock(p)
	}
	if !c.blockHeld.Hold(memBlock) {
		return violation(codeCalm, refusal.NoMemory)
	}
	c.mu.Lock()
	c.inBlock = true
	c.setDeadline(time.Now().Add(c.srv.cfg.HeadTimeout))
	c.mu.Unlock()
	return c.block.add(p)
}

func (c *conn) onContinuation(f *frame) error {
	if !c.inBlock || f.id != c.block.id {
		return violation(codeProtocol, "CONTINUATION does not follow its HEADERS")
	}
	if err := c.block.add(f.payload); err != nil {
		return err
	}
	if !f.has(flagEndHeaders) {
		return nil
	}
	c.mu.Lock()
	c.inBlock = false
	c.mu.Unlock()
	defer c.restDeadline()
	defer c.blockHeld.Release()
	defer c.block.release()
	return c.endBlock(c.block.bytes)
}
