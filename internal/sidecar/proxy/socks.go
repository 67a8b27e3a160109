package proxy

import (
	"errors"
	"net"
	"strconv"
	"time"

	"firma/internal/intent"
	"firma/internal/sidecar/proxy/socks"
)

// socks serves a client of the proxy's port that speaks SOCKS.
func (c *conn) socks() step {
	c.way = bySOCKS
	c.setReadDeadline(time.Now().Add(c.srv.cfg.HeadTimeout))
	if c.in.Buffered()[0] == socks.Version4 {
		c.way = unasked // it would not understand the reply
		return c.badSOCKS(&socks.Error{Why: "SOCKS4 is not served: use SOCKS5 (socks5h://)"})
	}
	if s := c.greet(); s != again {
		return s
	}
	r, err := c.socksRequest()
	if err != nil {
		return c.badSOCKS(err)
	}
	if c.call, err = intent.FromAuthority(net.JoinHostPort(c.socksHost(&r), strconv.Itoa(int(r.Port)))); err != nil {
		return c.badSOCKS(err)
	}
	c.setReadDeadline(time.Time{})
	return c.open(false)
}

// greet answers the greeting. A client that insists on authentication is told that
// there is none.
func (c *conn) greet() step {
	for {
		n, ok, err := socks.Greeting(c.in.Buffered())
		switch {
		case err != nil:
			c.way = unasked
			return c.badSOCKS(err)
		case n == 0:
			if err := c.in.Fill(); err != nil {
				c.way = unasked
				return c.badSOCKS(err)
			}
		case !ok:
			c.way = unasked
			c.out.put(append(c.out.bytes(), socks.NoAcceptable()...))
			return c.badSOCKS(&socks.Error{Why: "the client insists on authentication, and there is none"})
		default:
			c.in.Discard(n)
			c.out.put(append(c.out.bytes(), socks.NoAuth()...))
			return goOn(c.out.flush() == nil)
		}
	}
}

func (c *conn) socksRequest() (r socks.Request, err error) {
	for {
		r, n, err := socks.ReadRequest(c.in.Buffered())
		if err != nil {
			return r, err
		}
		if n > 0 {
			c.in.Discard(n)
			return r, nil
		}
		if err := c.in.Fill(); err != nil {
			return r, err
		}
	}
}

// socksHost is the host that a request means. A client that resolved the name
// itself has a synthetic address, which means that name and nothing else.
func (c *conn) socksHost(r *socks.Request) string {
	if !r.Addr.IsValid() {
		return r.Host
	}
	if c.srv.cfg.NameOf != nil {
		if name, ok := c.srv.cfg.NameOf(r.Addr); ok {
			return name
		}
	}
	return r.Addr.String()
}

// badSOCKS ends a connection that never asked for a stream. A client that left is
// not recorded.
func (c *conn) badSOCKS(err error) step {
	var bad *socks.Error
	var no *intent.Error
	detail := "the SOCKS request did not arrive in time"
	c.code = socks.GeneralFailure
	switch {
	case errors.As(err, &bad):
		detail, c.code = bad.Why, bad.Code
	case errors.As(err, &no):
		detail = no.Why
	case !isTimeout(err):
		return over
	}
	c.malformed("socks", detail, "")
	return over
}
