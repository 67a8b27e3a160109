package proxy

import (
	"io"
	"time"
)

// canSkipBody reports, without waiting, whether the connection can go on after a
// refusal: the rest of the request's body is there already, or so small that it
// surely comes.
func (c *conn) canSkipBody() bool {
	if c.req.Continue { // the client may or may not send it now
		return false
	}
	c.x.body.Reset(c.in, &c.req.Head)
	for {
		p, err := c.x.body.Next()
		switch {
		case err != nil:
			return err == io.EOF
		case p == nil:
			left := c.x.body.Left()
			return 0 <= left && left <= maxInline
		}
	}
}

// skipBody discards what canSkipBody left of the body. A client that keeps us waiting
// for it has its answer all the same.
func (c *conn) skipBody() bool {
	for !c.x.body.Ended() {
		c.setReadDeadline(time.Now().Add(lingerTime))
		if c.x.body.Fill() != nil || !c.canGoOn() {
			c.linger(true)
			return false
		}
	}
	return true
}

func (c *conn) canGoOn() bool {
	_, err := c.x.body.Next()
	return err == nil || err == io.EOF
}
