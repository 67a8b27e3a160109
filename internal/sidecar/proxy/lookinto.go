package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"slices"
	"time"

	"firma/internal/intent"
	"firma/internal/sidecar/hello"
	"firma/internal/sidecar/http1"
	"firma/internal/verdict"
)

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// lookInto serves a stream that was admitted as d: call by call if it is TLS or
// HTTP, else as a tunnel, if that is allowed.
func (c *conn) lookInto(d verdict.Decision) step {
	if len(c.in.Buffered()) == 0 && !c.await() {
		return over
	}
	switch c.look(time.Time{}) {
	case isTLS:
		return c.lookTLS(d)
	case isHTTP:
		return c.speak(intent.HTTP)
	case other:
		return c.openTunnel(false)
	}
	return over
}

// speak makes the rest of the stream requests for its destination.
func (c *conn) speak(transport string) step {
	c.fixed = newDestination(&c.call, transport)
	c.way = byHTTP
	return again
}

// lookTLS ends the client's TLS here.
func (c *conn) lookTLS(d verdict.Decision) step {
	h, err := c.readHello()
	switch {
	case errors.Is(err, http1.ErrNoRoom):
		c.noRoom(&c.call, d)
		return over
	case err != nil && !isTimeout(err) && !isHello(err):
		return over // the client left
	case isTimeout(err):
		return c.refuse(d, lateHello)
	case err != nil:
		return c.refuse(d, why(err))
	case h.ServerName != "" && !h.Names(c.call.Host):
		return c.refuse(d, "the TLS server name is not the host of the stream")
	}
	to := newDestination(&c.call, intent.HTTPS)
	proto, ok := c.protocol(&h, to)
	if !ok {
		return c.refuse(d, "the TLS client offers neither http/1.1 nor h2, so the stream can't be looked into")
	}
	if to.failed != nil && !c.srv.cfg.Interceptor.Strict(c.call.Host) {
		return c.openTunnel(false)
	}
	tc, err := c.terminate(proto)
	if err != nil {
		c.srv.cfg.Enforcer.Dispatched(d, Dispatch{Abort: verdict.ConnectorFailure, Detail: explainHandshake(err)})
		return over
	}
	c.in.Release()
	c.nc, c.in, c.fixed, c.way = tc, http1.NewReader(tc).Within(c.srv.cfg.Memory), to, byHTTP
	c.out.release()
	c.out.to, c.out.join = tc, true
	if protocolOf(tc) == protoHTTP2 {
		return byFrames
	}
	return again
}

func isHello(err error) bool {
	var e *hello.Error
	return errors.As(err, &e)
}

// readHello reads the whole ClientHello and consumes nothing of it.
func (c *conn) readHello() (hello.Hello, error) {
	c.setReadDeadline(time.Now().Add(c.srv.cfg.HeadTimeout))
	defer c.setReadDeadline(time.Time{})
	return readHello(c.in)
}

func readHello(in *http1.Reader) (hello.Hello, error) {
	for {
		h, more, err := hello.Read(in.Buffered())
		if err != nil || !more {
			return h, err
		}
		if err := in.Fill(); err != nil {
			return h, err
		}
	}
}

// protocol settles what is spoken with the client: what the upstream speaks, if
// that is known, or may be found out before any call was allowed; HTTP/1.1 when in
// doubt, since every call can be made in it. false: the client speaks neither.
func (c *conn) protocol(h *hello.Hello, to *destination) (string, bool) {
	one := len(h.Protocols) == 0 || h.Offers(protoHTTP1)
	two := c.srv.cfg.HTTP2 != nil && h.Offers(protoHTTP2)
	i := c.srv.cfg.Interceptor
	known, ok := i.Known(to.host, to.port)
	if (two && !ok || !i.Strict(to.host)) && (one || two) && c.srv.cfg.Enforcer.Contactable(&c.call) {
		if p, err := c.contact(to, one, two); err == nil {
			known, ok = p, true
		} else {
			to.failed = err
		}
	}
	switch {
	case two && (ok && known == protoHTTP2 || !one):
		return protoHTTP2, true
	case one:
		return protoHTTP1, true
	}
	return "", false
}

// contact connects to the upstream and keeps the connection for the first call.
func (c *conn) contact(to *destination, one, two bool) (proto string, err error) {
	ctx, cancel := context.WithTimeout(c.ctx, c.srv.cfg.ConnectTimeout)
	defer cancel()
	protos := slices.Clone(onlyHTTP1)
	switch {
	case two && one:
		protos = []string{protoHTTP2, protoHTTP1}
	case two:
		protos = []string{protoHTTP2}
	}
	tc, err := c.srv.cfg.TLS.DialTLS(ctx, to.host, to.port, protos)
	if err == nil && tc == nil {
		err = errors.New("proxy: the dialer returned no connection")
	}
	if err != nil {
		return "", err
	}
	proto = protocolOf(tc)
	switch {
	case proto == protoHTTP1:
		c.srv.pool.put(newUpstream(poolKey{to.host, to.port, true}, tc, false, c.srv.cfg.Memory))
	case proto == protoHTTP2 && two:
		c.srv.cfg.HTTP2.Adopt(to.host, to.port, tc)
	default:
		under(tc).Close()
		return "", errors.New("proxy: the upstream chose a protocol that was not offered")
	}
	c.srv.cfg.Interceptor.Learn(to.host, to.port, proto)
	return proto, nil
}

func (c *conn) terminate(proto string) (*tls.Conn, error) {
	c.raw.SetDeadline(time.Now().Add(c.srv.cfg.HeadTimeout))
	tc, err := c.srv.cfg.Interceptor.Terminate(c.ctx, c.raw, c.in.Buffered(), c.call.Host, proto)
	if err == nil {
		err = c.raw.SetDeadline(time.Time{})
	}
	c.deadline = time.Time{}
	return tc, err
}

// explainHandshake says why a client's TLS did not come about, and quotes only
// alerts.
func explainHandshake(err error) string {
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Op == "remote error":
		return "the agent's TLS client does not accept firma's certificate (" + op.Err.Error() + "): does it use the certificates of the sandbox?"
	case isTimeout(err):
		return "the agent's TLS handshake did not end in time"
	case isGone(err):
		return "the agent's TLS client left during the handshake"
	}
	return "the agent's TLS handshake failed"
}

// destination is what all requests of a stream are for.
type destination struct {
	host      string
	port      uint16
	transport string
	authority string // host:port
	field     string // Host as clients write it
	scheme    string // with "://"
	failed    error  // connecting ahead of any call did not work
}

func newDestination(c *intent.Call, transport string) *destination {
	d := &destination{host: c.Host, port: c.Port, transport: transport, authority: c.HostPort(), scheme: transport + "://"}
	as := intent.Call{Transport: transport, Host: c.Host, Port: c.Port}
	d.field = as.HostPort()
	return d
}

// failure is why the connection that was made ahead failed. It is told once: the
// next call tries again.
func (d *destination) failure() error {
	if d == nil || d.failed == nil {
		return nil
	}
	err := d.failed
	d.failed = nil
	return err
}

// transport is by what the request came in, for the record.
func (c *conn) transport() string {
	if c.fixed != nil {
		return c.fixed.transport
	}
	return intent.HTTP
}

// readFixed makes the canonical call of a request inside a stream. Whatever names
// a host must name the stream's destination.
func (c *conn) readFixed() (err error) {
	d, target := c.fixed, c.req.Target
	if target[0] != '/' {
		if target, err = d.relative(target); err != nil {
			return err
		}
	}
	if c.req.Host != nil && string(c.req.Host) != d.field {
		if err := d.same(c.req.Host); err != nil {
			return err
		}
	}
	if c.call, err = intent.FromOrigin(d.transport, method(c.req.Method), d.authority, string(target)); err != nil {
		return err
	}
	return c.setOverride()
}

// relative returns what stands behind scheme and authority in an absolute target.
func (d *destination) relative(target []byte) ([]byte, error) {
	if !http1.HasPrefixFold(target, d.scheme) {
		return nil, &intent.Error{Why: "the request target is neither a path nor a URL of this stream's scheme"}
	}
	rest := target[len(d.scheme):]
	end := bytes.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	return rest[end:], d.same(rest[:end])
}

// same compares a host, with a port or without, with the destination.
func (d *destination) same(value []byte) error {
	host, port, err := intent.SplitHostPort(string(value))
	if err != nil {
		return err
	}
	if port == 0 {
		if port = 80; d.transport == intent.HTTPS {
			port = 443
		}
	}
	if host != d.host || port != d.port {
		return &intent.Error{Why: "the request names another host or port than the one its stream leads to"}
	}
	return nil
}
