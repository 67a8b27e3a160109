package proxy

import (
	"net"
	"strconv"
	"time"

	"firma/internal/intent"
	"firma/internal/verdict"
)

// serverFirst is how long a captured client may be silent before its protocol is
// taken for one in which the server speaks first.
const serverFirst = 200 * time.Millisecond

// captured serves a connection that was meant for somebody else.
func (c *conn) captured() step {
	c.way = unasked
	host, port, err := c.origin(c.raw)
	if err == nil {
		c.call, err = intent.FromAuthority(net.JoinHostPort(host, strconv.Itoa(int(port))))
	}
	if err != nil {
		c.malformed("capture", "where the connection was meant to go is not known", "")
		return over
	}
	looked := c.looked()
	if !looked && c.srv.cfg.Enforcer.OwnTunnel(&c.call) {
		return c.openTunnel(false)
	}
	until := time.Now().Add(serverFirst)
	if port == 80 || port == 443 { // of the web, where the client speaks first
		if until = (time.Time{}); !c.await() {
			return c.leftUnread()
		}
	}
	switch c.look(until) {
	case isTLS:
		if !looked {
			return c.openTunnel(false)
		}
		return c.open(false)
	case isHTTP:
		return c.speak(intent.HTTP)
	case other:
		return c.openTunnel(false)
	}
	return c.leftUnread()
}

// leftUnread records a connection that ended before it was clear what it is for: it
// was made, and somebody may look for it. Nothing of it went anywhere. One that said
// nothing is no call that could be refused: it is what a client that tries IPv4 and
// IPv6 at once leaves over.
func (c *conn) leftUnread() step {
	switch {
	case c.srv.draining.Load():
	case len(c.in.Buffered()) == 0:
		c.srv.cfg.Enforcer.Admit(c.ctx, &c.call)
	default:
		c.srv.cfg.Enforcer.Refuse(c.ctx, &c.call, verdict.Decision{}, verdict.MalformedRequest, "the connection ended before it was clear what it is for")
	}
	return over
}
