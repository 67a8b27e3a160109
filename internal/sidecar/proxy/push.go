package proxy

import (
	"errors"
	"io"
	"slices"
	"time"

	"firma/internal/gitpush"
	"firma/internal/intent"
	"firma/internal/sidecar/allowance"
	"firma/internal/sidecar/field"
	"firma/internal/sidecar/http1"
)

// pushed is what was read of a git push's body before it was judged.
type pushed struct {
	read   bool
	body   []byte // decoded
	parser gitpush.Parser
	held   allowance.Claim
}

// pushCost is what a byte of commands costs: it is kept, parsed and sent.
const pushCost = 4

func (p *pushed) reset() {
	p.held.Release()
	*p = pushed{}
}

// readPush reads the commands of a git push: they stand in front of the pack, and
// decide what the call is. An error that is no *intent.Error is the client's end.
func (c *conn) readPush() error {
	if !c.call.IsPush() {
		return nil
	}
	for _, f := range c.req.Fields {
		if field.Same(f.Name, "content-encoding") && !http1.EqualFold(f.Value, "identity") {
			return &intent.Error{Why: "the commands of a git push are encoded; push without compressing the request"}
		}
	}
	c.req.Detach()
	if err := c.continueNow(); err != nil {
		return err
	}
	c.setReadDeadline(time.Now().Add(c.srv.cfg.HeadTimeout))
	defer c.setReadDeadline(time.Time{})
	b := &c.x.body
	b.Reset(c.in, &c.req.Head)
	b.Most(c.srv.cfg.MaxBody)
	c.push.read = true
	c.push.held = c.srv.cfg.Memory.Claim()
	for {
		p, err := b.Next()
		switch {
		case p != nil:
			if !c.push.held.Hold(pushCost * (len(c.push.body) + len(p))) {
				return http1.ErrNoRoom
			}
			c.push.body = append(c.push.body, p...)
			if done, err := c.parsePush(); done || err != nil {
				return err
			}
		case err == io.EOF:
			return &intent.Error{Why: "the commands of a git push are not complete"}
		case err != nil:
			return err
		default:
			if err := b.Fill(); err != nil {
				return err
			}
		}
	}
}

// malformedError tells what is wrong with the bytes from the end of them.
func malformedError(err error) bool {
	var i *intent.Error
	var h *http1.Error
	return errors.As(err, &i) || errors.As(err, &h)
}

// abandon ends a connection whose client left, or kept us waiting, before it was
// clear what it asks for.
func (c *conn) abandon(err error) bool {
	if isTimeout(err) {
		c.malformed(c.transport(), "the commands of a git push did not arrive in time", "")
	}
	return false
}

func (c *conn) parsePush() (bool, error) {
	updates, done, err := c.push.parser.Parse(c.push.body)
	var e *gitpush.Error
	if errors.As(err, &e) {
		return false, &intent.Error{Why: "the commands of a git push are malformed: " + e.Why}
	}
	if done {
		c.call.Push = &intent.Push{Updates: updates}
	}
	return done, err
}

// continueNow lets a client that waits for it send the body.
func (c *conn) continueNow() error {
	if !c.req.Continue {
		return nil
	}
	c.req.Continue = false
	c.out.put(append(c.out.bytes(), "HTTP/1.1 100 Continue\r\n\r\n"...))
	return c.out.flush()
}

// appendPushed appends what was read ahead, as the body's framing wants it.
func (x *exchange) appendPushed(b []byte) []byte {
	p := x.c.push.body
	x.c.push.body = nil
	if len(p) == 0 {
		return b
	}
	x.res.RequestBytes += int64(len(p))
	x.begins.Add(p)
	b = slices.Grow(b, len(p)+32)
	if x.c.req.Framing == http1.Chunked {
		return append(append(http1.AppendChunkSize(b, len(p)), p...), crlf...)
	}
	return append(b, p...)
}
