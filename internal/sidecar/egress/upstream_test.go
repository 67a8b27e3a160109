package egress

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"firma/internal/verdict"
)

// names is a Resolver of its own; a name it lacks does not exist.
type names map[string][]netip.Addr

func (n names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if a, ok := n[strings.TrimSuffix(host, ".")]; ok {
		return a, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// scripted is a proxy that reads a request and answers with answer; it echoes
// what follows.
func scripted(t *testing.T, answer string) (netip.AddrPort, <-chan *http.Request) {
	t.Helper()
	seen := make(chan *http.Request, 8)
	return rawServer(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		seen <- req
		io.WriteString(c, answer)
		io.Copy(c, r)
	}), seen
}

func chained(t *testing.T, proxy netip.AddrPort, change func(*Config)) *Dialer {
	t.Helper()
	cfg := Config{
		Proxy: &UpstreamProxy{URL: &url.URL{Scheme: "http", Host: proxy.String()}}, Timeout: 2 * time.Second,
		Resolver: names{"public.test": {netip.MustParseAddr("93.184.216.34")}, "inside.test": {netip.MustParseAddr("10.0.0.7")},
			"mixed.test": {netip.MustParseAddr("93.184.216.34"), netip.MustParseAddr("169.254.169.254")}},
		OwnAddrs: func() ([]netip.Addr, error) { return nil, nil },
	}
	if change != nil {
		change(&cfg)
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestThroughTheProxy(t *testing.T) {
	addr, seen := scripted(t, "HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nearly")
	d := chained(t, addr, func(c *Config) { c.Proxy.Username, c.Proxy.Password = "me", "p:ss" })
	for host, want := range map[string]string{"public.test": "public.test:443", "only.the.proxy.knows": "only.the.proxy.knows:443", "2001:4860:4860::8888": "[2001:4860:4860::8888]:443"} {
		conn, err := d.Dial(context.Background(), host, 443)
		if err != nil {
			t.Fatalf("%s: %v", host, err)
		}
		req := <-seen
		user, pass, ok := (&http.Request{Header: http.Header{"Authorization": req.Header["Proxy-Authorization"]}}).BasicAuth()
		if req.Method != "CONNECT" || req.RequestURI != want || req.Host != want || !ok || user != "me" || pass != "p:ss" || len(req.Header) != 1 {
			t.Errorf("%s: the proxy saw %s %s %v", host, req.Method, req.RequestURI, req.Header)
		}
		io.WriteString(conn, "hello")
		got := make([]byte, 10)
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != "earlyhello" {
			t.Errorf("%s: %q, %v", host, got, err)
		}
		conn.Close()
	}
}

// TestTheProxyIsNoWayAround: what may not be dialled is refused before the proxy
// hears of it.
func TestTheProxyIsNoWayAround(t *testing.T) {
	addr, seen := scripted(t, "HTTP/1.1 200 OK\r\n\r\n")
	d := chained(t, addr, nil)
	for _, host := range []string{"127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "metadata.google.internal", "inside.test", "mixed.test", "localhost", "a.localhost"} {
		conn, err := d.Dial(context.Background(), host, 443)
		var e *Error
		if !errors.As(err, &e) || e.Reason != verdict.DestinationForbidden {
			t.Errorf("%s: %v, %v", host, conn, err)
		}
	}
	select {
	case r := <-seen:
		t.Errorf("the proxy was asked for %s", r.RequestURI)
	default:
	}
}

func TestDirectWhereTheProxyIsNotMeant(t *testing.T) {
	proxy, seen := scripted(t, "HTTP/1.1 200 OK\r\n\r\n")
	direct := rawServer(t, func(c net.Conn) { io.WriteString(c, "direct") })
	d := chained(t, proxy, func(c *Config) {
		c.Hosts = map[string]Override{"pinned.test": {Addr: direct.Addr(), Port: direct.Port()}}
		c.Proxy.NoProxy = []string{".corp.test", "10.0.0.0/8"}
		c.Allowed = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
		c.Resolver = names{"a.corp.test": {direct.Addr()}}
	})
	for host, port := range map[string]uint16{"pinned.test": 443, "a.corp.test": direct.Port()} {
		conn, err := d.Dial(context.Background(), host, port)
		if err != nil {
			t.Fatalf("%s: %v", host, err)
		}
		if got, _ := io.ReadAll(conn); string(got) != "direct" {
			t.Errorf("%s: %q", host, got)
		}
		conn.Close()
	}
	if d.through("10.1.2.3", 80) || !d.through("corp.test", 80) {
		t.Error("no_proxy is read wrongly")
	}
	if len(seen) != 0 {
		t.Error("the proxy was asked")
	}
}

func TestProxyAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		reason verdict.Reason
		want   string
	}{
		"credentials":   {"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n", verdict.ConnectorFailure, "other credentials"},
		"no password":   {"HTTP/1.0 401 Unauthorized\r\n\r\n", verdict.ConnectorFailure, "other credentials"},
		"forbidden":     {"HTTP/1.0 403 Forbidden\r\n\r\n", verdict.ConnectorFailure, "refuses connections to public.test"},
		"gateway":       {"HTTP/1.1 502 Bad Gateway\r\n\r\nSECRET page", verdict.ConnectorFailure, "status 502"},
		"slow gateway":  {"HTTP/1.1 504 Timeout\r\n\r\n", verdict.ConnectorTimeout, "504"},
		"redirect":      {"HTTP/1.1 302 Found\r\nLocation: http://SECRET/\r\n\r\n", verdict.ConnectorFailure, "status 302"},
		"no HTTP":       {"SSH-2.0-SECRET\r\n", verdict.ConnectorFailure, "no HTTP"},
		"endless head":  {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 64<<10), verdict.ConnectorFailure, "no HTTP"},
		"endless 1xx":   {strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 20), verdict.ConnectorFailure, "without end"},
		"bare LF":       {"HTTP/1.1 200 OK\n\n", verdict.ConnectorFailure, "no HTTP"},
		"silence":       {"", verdict.ConnectorTimeout, "in time"},
		"half a head":   {"HTTP/1.1 200 OK\r\n", verdict.ConnectorTimeout, "in time"},
		"two lengths":   {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", verdict.ConnectorFailure, "no HTTP"},
		"smuggled head": {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", verdict.ConnectorFailure, "no HTTP"},
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := scripted(t, c.answer)
			_, err := chained(t, addr, func(c *Config) { c.Timeout = 300 * time.Millisecond }).Dial(context.Background(), "public.test", 443)
			var e *Error
			if !errors.As(err, &e) || e.Reason != c.reason || !strings.Contains(e.Detail, c.want) || !strings.Contains(e.Detail, "upstream proxy "+addr.String()) || strings.Contains(e.Detail, "SECRET") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestProxyUnreachable(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddrPort(ln.Addr().String())
	ln.Close()
	_, derr := chained(t, addr, nil).Dial(context.Background(), "public.test", 443)
	var e *Error
	if !errors.As(derr, &e) || e.Reason != verdict.ConnectorFailure || !strings.Contains(e.Detail, "can't be reached") {
		t.Errorf("%v", derr)
	}
}

// TestProxyIsOurs: a proxy that is firma itself is not asked, by whatever address.
func TestProxyIsOurs(t *testing.T) {
	addr, seen := scripted(t, "HTTP/1.1 200 OK\r\n\r\n")
	for _, listening := range []string{addr.String(), "0.0.0.0:" + strconv.Itoa(int(addr.Port())), "[::]:" + strconv.Itoa(int(addr.Port()))} {
		d := chained(t, addr, func(c *Config) { c.Forbidden = []netip.AddrPort{netip.MustParseAddrPort(listening)} })
		_, err := d.Dial(context.Background(), "public.test", 443)
		if reason(err) != verdict.ConnectorFailure || !strings.Contains(err.Error(), "is firma itself") {
			t.Errorf("listening on %s: %v", listening, err)
		}
	}
	if len(seen) > 0 {
		t.Errorf("asked for %s", (<-seen).RequestURI)
	}
}

func TestProxyConfig(t *testing.T) {
	for _, p := range []UpstreamProxy{
		{}, {URL: &url.URL{Scheme: "socks5", Host: "a:1"}}, {URL: &url.URL{Scheme: "http"}},
		{URL: &url.URL{Scheme: "http", Host: "a:1", User: url.User("x")}},
		{URL: &url.URL{Scheme: "http", Host: "a:1"}, Username: "a:b", Password: "x"},
		{URL: &url.URL{Scheme: "http", Host: "a:1"}, Username: "a", Password: "x\r\nX-Evil: 1"},
	} {
		if _, err := New(Config{Proxy: &p}); err == nil {
			t.Errorf("%+v passes", p)
		}
	}
}

// FuzzProxyAnswer: an answer opens a tunnel only if an independent parser reads a 2xx
// in it, too, and the tunnel begins where that parser says; in which pieces it comes
// changes nothing.
func FuzzProxyAnswer(f *testing.F) {
	for _, said := range []string{
		"HTTP/1.1 200 OK\r\n\r\nearly", "HTTP/1.0 407 No\r\nA: b\r\n\r\n", "HTTP/1.1 100 x\r\n\r\nHTTP/1.1 103 x\r\nA: b\r\n\r\nHTTP/1.1 200\r\n\r\n\x00\xff",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 101 x\r\n\r\n", "HTTP/1.1 200 OK\n\n", "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 403 No\r\n\r\n",
	} {
		f.Add([]byte(said))
	}
	c := &chain{name: "the upstream proxy"}
	open := func(r io.Reader) (tunnel []byte, err error) {
		early, err := c.answer(context.Background(), reading{Reader: r}, "a.test")
		if err != nil {
			return nil, err
		}
		rest, err := io.ReadAll(r)
		return append(early, rest...), err
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		whole, err := open(bytes.NewReader(data))
		pieces, perr := open(iotest.OneByteReader(bytes.NewReader(data)))
		if (err == nil) != (perr == nil) || !bytes.Equal(whole, pieces) {
			t.Fatalf("%q, %v; byte for byte %q, %v", whole, err, pieces, perr)
		}
		var e *Error
		if err != nil {
			if !errors.As(err, &e) || strings.Contains(e.Detail, "SECRET") {
				t.Fatal(err)
			}
			return
		}
		for r := bufio.NewReaderSize(bytes.NewReader(data), len(data)+16); ; {
			res, err := http.ReadResponse(r, &http.Request{Method: "CONNECT"})
			if err != nil {
				t.Fatalf("a tunnel, but net/http says %v", err)
			}
			if res.StatusCode < 200 {
				continue
			}
			rest, _ := io.ReadAll(r)
			if res.StatusCode >= 300 || !bytes.Equal(rest, whole) {
				t.Fatalf("a tunnel that begins with %q; net/http reads %d and %q", whole, res.StatusCode, rest)
			}
			return
		}
	})
}

// reading is a connection that is only read from.
type reading struct {
	net.Conn
	io.Reader
}

func (r reading) Read(p []byte) (int, error) { return r.Reader.Read(p) }
