package proxy

import (
	"bytes"
	"io"
	"net"
	"time"

	"firma/internal/intent"
	"firma/internal/sidecar/hello"
	"firma/internal/sidecar/http1"
	"firma/internal/sidecar/proxy/socks"
	"firma/internal/verdict"
)

// way is how a stream was asked for, which is how its opening is answered.
type way uint8

const (
	byHTTP  way = iota // a refusal is an HTTP response
	bySOCKS            // a SOCKS reply
	unasked            // captured, or accepted already: a TLS alert or a reset
)

const established = "HTTP/1.1 200 Connection Established\r\n\r\n"

// open serves the stream that c.call, a CONNECT, asks for. again says whether the
// connection can go on after a refusal.
func (c *conn) open(again bool) step {
	if !c.looked() {
		return c.openTunnel(again)
	}
	d := c.srv.cfg.Enforcer.Admit(c.ctx, &c.call)
	if !d.Outcome.Dispatches() {
		return goOn(c.deny(d, again))
	}
	if c.accept() != nil {
		return over
	}
	return c.lookInto(d)
}

// looked reports whether the stream that c.call asks for is looked into.
func (c *conn) looked() bool {
	i := c.srv.cfg.Interceptor
	return i != nil && i.Covers(c.call.Host)
}

// unread reports whether a tunnel to host may not hide what firma looks into there.
func (c *conn) unread(host string) bool {
	i := c.srv.cfg.Interceptor
	return i != nil && i.Covers(host) && i.Strict(host)
}

// openTunnel judges the stream as one call and connects it.
func (c *conn) openTunnel(again bool) step {
	d := c.srv.cfg.Enforcer.Enforce(c.ctx, &c.call)
	if !d.Outcome.Dispatches() {
		return goOn(c.deny(d, again))
	}
	x := &c.x
	x.reset(d)
	x.inline = again
	if err := x.connect(true); err != nil {
		return goOn(x.notConnected(err))
	}
	return tunnelled
}

// accept tells the client that its stream is open, if it asked for one.
func (c *conn) accept() error {
	asked := c.way
	c.way = unasked
	switch asked {
	case byHTTP:
		c.out.put(append(c.out.bytes(), established...))
	case bySOCKS:
		c.out.put(append(c.out.bytes(), socks.Reply(socks.Succeeded)...))
	}
	return c.out.flush()
}

// turnAway tells a client that can't be told in HTTP that its stream is refused.
func (c *conn) turnAway(d verdict.Decision) {
	switch b := c.in.Buffered(); {
	case c.way == bySOCKS:
		code := c.code
		if code == 0 {
			code = replyCode(d)
		}
		c.out.put(append(c.out.bytes(), socks.Reply(code)...))
		c.linger(false)
	case len(b) > 0 && hello.Begins(b):
		c.out.put(append(c.out.bytes(), hello.AccessDenied()...))
		c.linger(false)
	case len(c.out.buf) > 0: // the answer to a greeting
		c.linger(false)
	default:
		reset(c.raw)
	}
}

func replyCode(d verdict.Decision) byte {
	if d.Outcome == verdict.Abort {
		return socks.HostUnreachable
	}
	return socks.NotAllowed
}

// reset ends a connection in a way that can't be taken for an orderly end.
func reset(nc net.Conn) {
	unclean(nc)
	nc.Close()
}

// unclean makes closing nc reset it.
func unclean(nc net.Conn) {
	if l, ok := nc.(interface{ SetLinger(int) error }); ok {
		l.SetLinger(0)
	}
}

// refuse ends a stream that was admitted as prior and is not what it must be.
func (c *conn) refuse(prior verdict.Decision, detail string) step {
	d := c.srv.cfg.Enforcer.Refuse(c.ctx, &c.call, prior, verdict.MalformedRequest, detail)
	d.Outcome = verdict.Deny
	c.deny(d, false)
	return over
}

// sendAlert tells a client why its hello goes nowhere, unless the client does not
// listen.
func sendAlert(nc net.Conn) {
	nc.SetDeadline(time.Now().Add(lingerTime))
	if _, err := nc.Write(hello.AccessDenied()); err != nil || !closeWrite(nc) {
		return
	}
	io.CopyN(io.Discard, nc, lingerBytes)
}

// look reads what the client begins with until it is clear what it is, or until
// the deadline, which is set when some of it is there.
func (c *conn) look(until time.Time) manner {
	for {
		b := c.in.Buffered()
		if len(b) > 0 {
			if m := mannerOf(b); m != unclear {
				return m
			}
			if until.IsZero() {
				until = time.Now().Add(c.srv.cfg.HeadTimeout)
			}
		}
		c.setReadDeadline(until)
		if err := c.fill(); err != nil {
			c.setReadDeadline(time.Time{})
			if isTimeout(err) {
				return other
			}
			return gone
		}
	}
}

// manner is what a stream begins as.
type manner uint8

const (
	unclear manner = iota
	isTLS
	isHTTP
	other // something else, or nothing so far
	gone  // the client left
)

// mannerOf judges the first bytes of a stream. HTTP is what any server could take
// for a request: a line that begins with a method or whose last word begins with
// "HTTP/", behind empty lines too. What is wrong with it is for the parser to say.
func mannerOf(b []byte) manner {
	if hello.Begins(b) {
		return isTLS
	}
	switch hello.SortOf(b) {
	case hello.Nearly: // which readHello refuses
		return isTLS
	case hello.Unclear:
		return unclear
	}
	b = b[:min(len(b), http1.MaxLine)]
	line := bytes.TrimLeft(b, "\r\n")
	word := 0 // start of the current one
	for i, ch := range line {
		switch {
		case ch == '\n' || ch == '\r':
			if word > 0 && http1.HasPrefixFold(line[word:i], "http/") {
				return isHTTP
			}
			return other
		case ch == ' ' || ch == '\t':
			if word == 0 && intent.KnownMethod(string(bytes.ToUpper(line[:i]))) {
				return isHTTP
			}
			word = i + 1
		case ch < ' ' || ch == 0x7f || word == 0 && !http1.TokenByte(ch):
			return other
		}
	}
	if len(b) == http1.MaxLine || word == 0 && len(line) > maxMethod {
		return other
	}
	return unclear
}

// maxMethod is longer than any method, in bytes.
const maxMethod = 64
