package conformance

import (
	"bufio"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"firma/internal/sidecar/h2"
	"firma/internal/sidecar/intercept"
	"firma/internal/sidecar/proxy"
)

// way is how an agent's WebSocket goes through firma.
type way struct {
	name   string
	tls    bool
	h2     bool // the agent's side is HTTP/2
	farH2  bool // the upstream speaks nothing else
	protos []string
}

var ways = []way{
	{name: "HTTP/1.1"},
	{name: "HTTP/1.1 in TLS", tls: true, protos: []string{"http/1.1"}},
	{name: "HTTP/2 in TLS", tls: true, h2: true, protos: []string{"h2"}},
	{name: "HTTP/2 in TLS, and upstream", tls: true, h2: true, farH2: true, protos: []string{"h2"}},
}

// patience is for what must come; it decides nothing.
const patience = 20 * time.Second

// world is firma, by one way, in front of one upstream.
type world struct {
	way
	t     *testing.T
	e     *enforcer
	proxy string              // its address
	host  string              // the upstream's name, with a port if it is not the scheme's
	ended chan proxy.Dispatch // every dispatch
	h2c   http.RoundTripper   // the agent's connection, if it is HTTP/2
	stop  func()              // ends firma, and every connection with it
}

// newWorld puts firma before the server at far, which speaks TLS if the way does.
func newWorld(t *testing.T, w way, far dialer) *world {
	t.Helper()
	x := &world{way: w, t: t, host: name, ended: make(chan proxy.Dispatch, 1)}
	x.e = &enforcer{notify: x.ended}
	i, err := intercept.New(intercept.Config{Hosts: []string{name}, Leaves: leaves{}})
	if err != nil {
		t.Fatal(err)
	}
	two, err := h2.New(h2.Config{Enforcer: x.e, DialTLS: far.DialTLS})
	if err != nil {
		t.Fatal(err)
	}
	s, err := proxy.New(proxy.Config{Enforcer: x.e, Dialer: far, Interceptor: i, TLS: far, HTTP2: two})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x.proxy = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	x.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		s.Drain(context.Background())
		two.Drain(context.Background())
	})
	t.Cleanup(x.stop)
	return x
}

type leaves struct{}

func (leaves) For(string) (*tls.Certificate, error) { return &certificate, nil }

// dialer connects to one address as any host.
type dialer struct {
	addr  string
	roots *x509.CertPool
}

func (d dialer) Dial(ctx context.Context, _ string, _ uint16) (net.Conn, error) {
	var nd net.Dialer
	return nd.DialContext(ctx, "tcp", d.addr)
}

func (d dialer) DialTLS(ctx context.Context, host string, _ uint16, protos []string) (*tls.Conn, error) {
	nd := tls.Dialer{Config: &tls.Config{RootCAs: d.roots, ServerName: host, NextProtos: protos}}
	c, err := nd.DialContext(ctx, "tcp", d.addr)
	if err != nil {
		return nil, err
	}
	return c.(*tls.Conn), nil
}

// stream connects to the proxy and, where TLS is spoken, through it.
func (x *world) stream(ctx context.Context) (net.Conn, error) {
	c, err := dialer{addr: x.proxy}.Dial(ctx, "", 0)
	if err != nil || !x.tls {
		return c, err
	}
	io.WriteString(c, "CONNECT "+name+":443 HTTP/1.1\r\nHost: "+name+":443\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: "CONNECT"})
	if err == nil && resp.StatusCode != 200 {
		err = errors.New(resp.Status)
	}
	if err == nil {
		tc := tls.Client(c, &tls.Config{RootCAs: roots, ServerName: name, NextProtos: x.protos})
		if err = tc.HandshakeContext(ctx); err == nil {
			return tc, nil
		}
	}
	c.Close()
	return nil, err
}

// socket is one end of a WebSocket after its handshake: frames, and no more.
type socket interface {
	io.ReadWriteCloser
	// CloseWrite ends what is written, in order.
	CloseWrite() error
}

// upgraded is a connection that was read ahead of.
type upgraded struct {
	net.Conn
	r *bufio.Reader
}

func (u *upgraded) Read(p []byte) (int, error) { return u.r.Read(p) }

func (u *upgraded) CloseWrite() error {
	return u.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

// extended is the stream of an extended CONNECT, as its client has it.
type extended struct {
	io.ReadCloser
	*io.PipeWriter
}

func (e *extended) CloseWrite() error { return e.PipeWriter.Close() }

// Close ends the stream; a reset, which is what net/http does to one that is still
// being answered, would overtake what was sent last.
func (e *extended) Close() error {
	e.PipeWriter.Close()
	timer := time.AfterFunc(time.Second, func() { e.ReadCloser.Close() })
	go func() {
		io.Copy(io.Discard, e.ReadCloser)
		timer.Stop()
		e.ReadCloser.Close()
	}()
	return nil
}

// open asks for a WebSocket with these further fields; a response other than the
// switch comes without a socket.
func (x *world) open(path string, fields http.Header) (*http.Response, socket, error) {
	req, err := http.NewRequest("GET", "http://"+x.host+path, nil)
	if err != nil {
		return nil, nil, err
	}
	for k, v := range fields {
		req.Header[k] = v
	}
	if x.h2 {
		return x.extend(req)
	}
	if req.Header.Get("Sec-WebSocket-Version") == "" {
		req.Header.Set("Sec-WebSocket-Version", "13")
	}
	req.Header.Set("Sec-WebSocket-Key", exampleKey)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "websocket")
	c, err := x.stream(x.t.Context())
	if err != nil {
		return nil, nil, err
	}
	write := req.WriteProxy // the absolute form
	if x.tls {
		write = req.Write
	}
	if err := write(c); err != nil {
		return nil, nil, err
	}
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, req)
	if err != nil || resp.StatusCode != 101 {
		x.t.Cleanup(func() { c.Close() })
		return resp, nil, err
	}
	if a := resp.Header.Get("Sec-WebSocket-Accept"); a != acceptFor(exampleKey) {
		return resp, nil, errors.New("the answer to the key is " + a)
	}
	return resp, &upgraded{c, r}, nil
}

// extend asks by extended CONNECT (RFC 8441), on one connection for all.
func (x *world) extend(req *http.Request) (*http.Response, socket, error) {
	if x.h2c == nil {
		c, err := x.stream(req.Context())
		if err != nil {
			return nil, nil, err
		}
		tr := &http.Transport{ForceAttemptHTTP2: true}
		tr.CloseIdleConnections() // has it set up HTTP/2
		x.h2c = tr.TLSNextProto["h2"](name+":443", c.(*tls.Conn))
		x.t.Cleanup(func() {
			tr.CloseIdleConnections()
			c.Close()
		})
	}
	r, w := io.Pipe()
	req.URL.Scheme = "https"
	req.Method, req.Body, req.ContentLength = http.MethodConnect, r, -1
	req.Header[":protocol"] = []string{"websocket"}
	resp, err := x.h2c.RoundTrip(req)
	if err != nil {
		return nil, nil, err
	}
	if resp.StatusCode != 200 {
		w.Close()
		return resp, nil, nil
	}
	return resp, &extended{resp.Body, w}, nil
}

const exampleKey = "dGhlIHNhbXBsZSBub25jZQ==" // RFC 6455, section 1.3

func acceptFor(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
