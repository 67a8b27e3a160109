package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"

	"firma/internal/sidecar/http1"
	"firma/internal/verdict"
)

// resolveTime bounds the local look-up of a name that an upstream proxy will
// resolve: networks behind one often have no resolver that knows the world.
const resolveTime = 2 * time.Second

// maxProxyHead bounds the proxy's answer to CONNECT, in bytes.
const maxProxyHead = 16 << 10

// UpstreamProxy is a proxy that connections leave through: the network's own, not
// firma's.
type UpstreamProxy struct {
	URL *url.URL // http or https, host and port; nothing else is read
	// NoProxy are destinations connected to directly, as in the NO_PROXY variable:
	// a host with all below it, ".host" for those below only, an address, a CIDR, each
	// with ":port" or without, or "*".
	NoProxy            []string
	Username, Password string         // Basic authentication, if either is set
	Roots              *x509.CertPool // verify an https proxy; nil: the host's own
}

// chain is a compiled UpstreamProxy.
type chain struct {
	addr   string // "host:port"
	name   string // for the texts of errors
	tls    *tls.Config
	auth   string // value of Proxy-Authorization, or ""
	direct func(host string, port uint16) bool
}

func newChain(p *UpstreamProxy) (*chain, error) {
	if p == nil {
		return nil, nil
	}
	u := p.URL
	if u == nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return nil, errors.New("egress: the upstream proxy is not http://host:port or https://host:port")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	c := &chain{addr: net.JoinHostPort(u.Hostname(), port), name: "the upstream proxy " + net.JoinHostPort(u.Hostname(), port)}
	if u.Scheme == "https" {
		c.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname(), RootCAs: p.Roots, NextProtos: []string{"http/1.1"}}
	}
	if p.Username != "" || p.Password != "" {
		if strings.ContainsAny(p.Username, ":\r\n") || strings.ContainsAny(p.Password, "\r\n") {
			return nil, errors.New("egress: the upstream proxy's user name has a colon, or it or the password a line feed")
		}
		c.auth = "Basic " + base64.StdEncoding.EncodeToString([]byte(p.Username+":"+p.Password))
	}
	cfg := httpproxy.Config{HTTPSProxy: "http://proxy.invalid", NoProxy: strings.Join(p.NoProxy, ",")}
	pick := cfg.ProxyFunc()
	c.direct = func(host string, port uint16) bool {
		via, err := pick(&url.URL{Scheme: "https", Host: net.JoinHostPort(host, strconv.Itoa(int(port)))})
		return err == nil && via == nil
	}
	return c, nil
}

// through reports whether the connection to host leaves through the proxy. What the
// operator gave an address for is reached at that address.
func (d *Dialer) through(host string, port uint16) bool {
	if d.chain == nil {
		return false
	}
	if _, ok := d.hosts[host]; ok {
		return false
	}
	return !d.chain.direct(host, port)
}

// dialThrough checks what can be checked here and asks the proxy to connect. The
// classes of literals and metadata names are always checked. A name that this
// host can resolve is checked by its addresses; one that it can't is left to the
// proxy, which resolves it anyway.
func (d *Dialer) dialThrough(ctx context.Context, host string, port uint16) (net.Conn, error) {
	if err := d.checkThrough(ctx, host, port); err != nil {
		return nil, err
	}
	nc, err := d.toProxy(ctx)
	if err != nil {
		return nil, d.chain.failed(ctx, err)
	}
	conn, err := d.chain.connect(ctx, nc, host, port)
	if err != nil {
		nc.Close()
		return nil, err
	}
	return conn, nil
}

// errLoop: each call would come back as another one, until nothing is left to make them
// with.
var errLoop = errors.New("it is firma itself")

// toProxy connects to the network's own proxy, which the operator chose: it is not
// checked, and found as the host finds it.
func (d *Dialer) toProxy(ctx context.Context) (net.Conn, error) {
	host, service, err := net.SplitHostPort(d.chain.addr)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	if err != nil {
		return nil, err
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	targets := make([]netip.AddrPort, 0, len(addrs))
	for _, a := range addrs {
		to := netip.AddrPortFrom(a.Unmap(), uint16(port))
		if d.ours(to) {
			return nil, errLoop
		}
		targets = append(targets, to)
	}
	targets = interleave(targets)
	return d.connect(ctx, targets[:min(len(targets), maxTargets)])
}

func (d *Dialer) checkThrough(ctx context.Context, host string, port uint16) error {
	if addr, err := netip.ParseAddr(host); err == nil {
		if e := d.check(addr, port, ""); e != nil {
			return e
		}
		return nil
	}
	if e := d.CheckName(host); e != nil {
		return e
	}
	if port == 0 {
		return forbidden("port 0 can't be dialled")
	}
	short, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	addrs, err := d.resolve(short, host)
	if err != nil {
		return ctx.Err() // not ours to know
	}
	_, err = d.checkAll(host, port, addrs)
	return err
}

// connect asks for a tunnel to host and port on nc, within ctx's time.
func (c *chain) connect(ctx context.Context, nc net.Conn, host string, port uint16) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok {
		if err := nc.SetDeadline(deadline); err != nil {
			return nil, c.failed(ctx, err)
		}
	}
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if c.tls != nil {
		tc := tls.Client(nc, c.tls)
		if err := tc.HandshakeContext(ctx); err != nil {
			e := handshakeError(ctx, c.name, err)
			return nil, e
		}
		nc = tc
	}
	target := net.JoinHostPort(host, strconv.Itoa(int(port)))
	req := "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n"
	if c.auth != "" {
		req += "Proxy-Authorization: " + c.auth + "\r\n"
	}
	if _, err := io.WriteString(nc, req+"\r\n"); err != nil {
		return nil, c.failed(ctx, err)
	}
	early, err := c.answer(ctx, nc, host)
	if err != nil {
		return nil, err
	}
	if !stop() {
		return nil, c.failed(ctx, ctx.Err())
	}
	if err := nc.SetDeadline(time.Time{}); err != nil {
		return nil, c.failed(ctx, err)
	}
	if len(early) > 0 {
		return &begun{Conn: nc, early: early}, nil
	}
	return nc, nil
}

// answer reads the proxy's answer and returns what came behind it.
func (c *chain) answer(ctx context.Context, nc net.Conn, host string) ([]byte, error) {
	in := http1.NewReader(nc)
	defer in.Release()
	var resp http1.Response
	for interim := 0; ; {
		done, err := in.Response(&resp, "CONNECT")
		if err != nil || !done && len(in.Buffered()) > maxProxyHead {
			return nil, c.abort(verdict.ConnectorFailure, "gave an answer that is no HTTP", err)
		}
		if !done {
			if err := in.Fill(); err != nil {
				return nil, c.failed(ctx, err)
			}
			continue
		}
		if resp.Status >= 200 {
			break
		}
		if interim++; interim > 8 {
			return nil, c.abort(verdict.ConnectorFailure, "sends interim responses without end", nil)
		}
	}
	switch s := resp.Status; {
	case s < 300:
		return bytes.Clone(in.Buffered()), nil
	case s == 407 || s == 401: // tinyproxy's word for wrong ones
		return nil, c.abort(verdict.ConnectorFailure, "wants other credentials: check username and password_path in [sidecar.egress.upstream_proxy]", nil)
	case s == 403:
		return nil, c.abort(verdict.ConnectorFailure, fmt.Sprintf("refuses connections to %s (status %d)", host, s), nil)
	case s == 504:
		return nil, c.abort(verdict.ConnectorTimeout, "could not reach "+host+" in time (status 504)", nil)
	default:
		return nil, c.abort(verdict.ConnectorFailure, fmt.Sprintf("could not connect to %s (status %d)", host, s), nil)
	}
}

func (c *chain) failed(ctx context.Context, err error) *Error {
	switch {
	case timedOut(ctx, err):
		return &Error{verdict.ConnectorTimeout, c.name + " did not answer in time", err}
	case errors.Is(err, errLoop):
		return &Error{verdict.ConnectorFailure, c.name + " is firma itself: correct url in [sidecar.egress.upstream_proxy]", err}
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return &Error{verdict.ConnectorFailure, c.name + " closed the connection", err}
	}
	return &Error{verdict.ConnectorFailure, c.name + " can't be reached", err}
}

func (c *chain) abort(code verdict.Reason, what string, err error) *Error {
	return &Error{code, c.name + " " + what, err}
}

// begun is a connection of which some bytes were read before.
type begun struct {
	net.Conn
	early []byte
}

func (b *begun) Read(p []byte) (int, error) {
	if len(b.early) == 0 {
		return b.Conn.Read(p)
	}
	n := copy(p, b.early)
	b.early = b.early[n:]
	return n, nil
}

// CloseWrite passes the end of one direction on, where the connection can.
func (b *begun) CloseWrite() error {
	if h, ok := b.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return errors.ErrUnsupported
}
