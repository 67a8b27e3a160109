package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firma/internal/intent"
	"firma/internal/sidecar/allowance"
	"firma/internal/sidecar/hello"
	"firma/internal/verdict"
)

// FuzzJudgedIsSentInside is FuzzJudgedIsSent for what the agent writes inside a
// stream: nothing reaches an independent parser upstream that was not allowed in
// that form, and nothing names another host.
func FuzzJudgedIsSentInside(f *testing.F) {
	for _, wire := range malformedInside {
		f.Add([]byte(wire + inGet + "\r\n"))
	}
	f.Add([]byte(inGet + "\r\n" + inPost + "Content-Length: 5\r\n\r\nhello" + inGet + "\r\n"))
	f.Add([]byte(inPost + "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n" + inGet + "\r\n"))
	f.Add([]byte("GET https://api.example.com/deny HTTP/1.1\r\nHost: api.example.com\r\n\r\n" + inGet + "\r\n"))
	f.Add([]byte("GET HTTPS://API.example.com?x HTTP/1.0\r\n\r\n"))
	w := newWitness(f)
	f.Fuzz(func(t *testing.T, wire []byte) {
		var allowed []string
		e := &enforcer{decide: func(c *intent.Call) verdict.Decision {
			if c.Transport != intent.HTTP || c.Host != "api.example.com" || c.Port != 8080 || strings.Contains(c.Path, "deny") {
				return verdict.Decision{Outcome: verdict.Deny}
			}
			allowed = append(allowed, fmt.Sprintf("%s %s %s", c.Method, c.HostPort(), c.Target()))
			return verdict.Decision{Outcome: verdict.Allow}
		}}
		mine := allowance.New(1 << 20)
		s, err := New(Config{Enforcer: e, Dialer: w, Memory: mine})
		if err != nil {
			t.Fatal(err)
		}
		near, far := tcpPair(t)
		c := newConn(context.Background(), s, far, new(sync.WaitGroup))
		c.origin = func(net.Conn) (string, uint16, error) { return "api.example.com", 8080, nil }
		s.slots <- struct{}{}
		s.add(c)
		go s.run(c)
		near.SetDeadline(time.Now().Add(10 * time.Second))
		near.Write(append([]byte("GET /first HTTP/1.1\r\nHost: api.example.com:8080\r\n\r\n"), strings.ReplaceAll(strings.ReplaceAll(string(wire), "Host: api.example.com\r\n", "Host: api.example.com:8080\r\n"), "https://api.example.com", "http://api.example.com:8080")...))
		near.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, near)
		s.Drain(context.Background())
		if n := mine.Used(); n != 0 {
			t.Errorf("%d bytes are still held", n)
		}
		w.wg.Wait()
		for _, seen := range w.seen {
			i := slices.Index(allowed, seen)
			if i < 0 {
				t.Fatalf("upstream saw %q, allowed were %q", seen, allowed)
			}
			allowed = slices.Delete(allowed, i, i+1)
		}
		w.seen = nil
	})
}

// checkTunnelled: what a tunnel carries is the agent's own bytes, and on the port of TLS
// a whole ClientHello that names the destination comes first. What is no tunnel's is a
// request that was composed.
func checkTunnelled(t *testing.T, wire, got []byte, host string, port uint16) {
	if len(got) == 0 {
		return
	}
	if !bytes.Contains(wire, got) {
		if _, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(got))); err != nil {
			t.Errorf("%q reached %s, and the agent did not send it: %v", got, host, err)
		}
		return
	}
	if port != 443 && !hello.Begins(got) {
		return
	}
	if h, more, err := hello.Read(got); err != nil || more || !h.Names(host) || h.ECH {
		t.Errorf("%q reached %s: %+v, %v, %v", got, host, h, more, err)
	}
}

// helloTo is the ClientHello of a client of name.
func helloTo(f *testing.F, name string) []byte {
	near, far := net.Pipe()
	defer far.Close()
	go tls.Client(near, &tls.Config{ServerName: name, CurvePreferences: []tls.CurveID{tls.X25519}}).Handshake()
	b := make([]byte, 4<<10)
	n, err := far.Read(b)
	if err != nil {
		f.Fatal(err)
	}
	return b[:n]
}

// FuzzStreamOpenings: whatever the agent opens a stream with, by CONNECT, SOCKS or
// captured, nothing is sent to another destination than one that was allowed, and to
// that only what it may say first.
func FuzzStreamOpenings(f *testing.F) {
	for _, name := range []string{"api.example.com", "evil.test"} {
		f.Add(append([]byte(connectReq), helloTo(f, name)...))
		f.Add(append([]byte(greeting+socksTo("api.example.com", 443)), helloTo(f, name)...))
		f.Add(append([]byte(greeting+socksTo("api.example.com", 22)), helloTo(f, name)...))
	}
	f.Add([]byte(greeting + socksTo("api.example.com", 22) + "SSH-2.0-x\r\n"))
	f.Add([]byte(connectReq + "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"))
	f.Add([]byte(greeting + socksTo("api.example.com", 443) + "hello"))
	f.Add([]byte(greeting + socksTo("evil.test\x00api.example.com", 443)))
	f.Add([]byte("\x04\x01\x00\x50\x01\x02\x03\x04\x00"))
	f.Add([]byte("\x05\x02\x00\x02\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		dialled := map[string]bool{}
		var upstreams sync.WaitGroup
		allowed := map[string]bool{}
		e := &enforcer{strict: true, decide: func(c *intent.Call) verdict.Decision {
			if c.Host == "evil.test" {
				return verdict.Decision{Outcome: verdict.Deny}
			}
			allowed[fmt.Sprint(c.Host, c.Port)] = true
			return verdict.Decision{Outcome: verdict.Allow}
		}}
		mine := allowance.New(1 << 20)
		s, err := New(Config{Enforcer: e, HeadTimeout: time.Second, Memory: mine, Dialer: dialFunc(func(_ context.Context, host string, port uint16) (net.Conn, error) {
			dialled[fmt.Sprint(host, port)] = true
			near, far := tcpPair(t)
			upstreams.Go(func() {
				got, _ := io.ReadAll(far)
				far.Close()
				checkTunnelled(t, wire, got, host, port)
			})
			return near, nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		near, far := tcpPair(t)
		c := newConn(context.Background(), s, far, new(sync.WaitGroup))
		s.slots <- struct{}{}
		s.add(c)
		go s.run(c)
		near.SetDeadline(time.Now().Add(10 * time.Second))
		near.Write(wire)
		near.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, near)
		s.Drain(context.Background())
		if n := mine.Used(); n != 0 {
			t.Errorf("%d bytes are still held", n)
		}
		upstreams.Wait()
		for d := range dialled {
			if !allowed[d] {
				t.Fatalf("%s was dialled, allowed were %v", d, allowed)
			}
		}
	})
}

func tcpPair(t testing.TB) (near, far net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if near, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

// TestLikeTheStandardLibrary: an origin of net/http sees of each request through an
// intercepted stream what it sees without firma, and its client the same answer.
func TestLikeTheStandardLibrary(t *testing.T) {
	type sight struct {
		Method, Host, URI, Body string
		Header, Trailer         http.Header
	}
	var seen []sight
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen = append(seen, sight{r.Method, r.Host, r.RequestURI, string(body), r.Header, nil})
		w.Header().Set("X-Answer", "one")
		w.Header().Add("X-Answer", "two")
		switch r.URL.Query().Get("as") {
		case "chunks":
			w.Header().Set("Trailer", "X-Sum")
			io.WriteString(w, "a")
			w.(http.Flusher).Flush()
			io.WriteString(w, strings.Repeat("b", 70_000))
			w.Header().Set("X-Sum", "1")
		case "nothing":
			w.WriteHeader(204)
		case "unchanged":
			w.WriteHeader(304)
		default:
			w.WriteHeader(201)
			fmt.Fprintf(w, "%d", len(body))
		}
	})
	ln := &oneByOne{conns: make(chan net.Conn), gone: make(chan struct{})}
	srv := &http.Server{Handler: echo}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	w := newIntercepting(t, interceptOptions{}, func(c net.Conn, _ *bufio.Reader) {
		over := make(chan struct{})
		select {
		case ln.conns <- &told{Conn: c, over: over}:
			<-over
		case <-ln.gone:
		}
	})
	var direct, through *agentTLS
	again := func() {
		raw := connectTo(t, w.origin)
		direct = &agentTLS{Conn: tls.Client(raw.TCPConn, &tls.Config{InsecureSkipVerify: true, ServerName: "api.example.com"}), t: t, raw: raw}
		direct.r = bufio.NewReader(direct.Conn)
		through = w.dial(t, nil)
	}
	again()
	for _, request := range []string{
		inGet + "\r\n",
		"HEAD /x HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
		"GET /x?as=chunks HTTP/1.1\r\nHost: api.example.com\r\nAccept: a\r\nAccept: b\r\n\r\n",
		"HEAD /x?as=chunks HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
		"GET /x?as=nothing HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
		"GET /x?as=unchanged HTTP/1.1\r\nHost: api.example.com\r\nIf-None-Match: \"x\"\r\n\r\n",
		"DELETE /a/b;c=d/%C3%A9?q=%20&r HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
		inPost + "Content-Length: 5\r\n\r\nhello",
		inPost + "Content-Length: 0\r\n\r\n",
		inPost + "\r\n",
		inPost + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\nabc\r\n0\r\n\r\n",
		inPost + "Content-Length: 70000\r\n\r\n" + strings.Repeat("z", 70_000),
		"PATCH /x HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok",
		"OPTIONS /x HTTP/1.1\r\nHost: api.example.com\r\nX-Empty:\r\nX-Wide: \t a \t\r\n\r\n",
		"GET /x HTTP/1.1\r\nHost: api.example.com\r\nCookie: a=b\r\nAuthorization: Bearer x\r\nConnection: close\r\n\r\n",
	} {
		method, _, _ := strings.Cut(request, " ")
		read := func(c *agentTLS) (status string, h http.Header, body string, trailer http.Header) {
			c.send(request)
			res, err := http.ReadResponse(c.r, &http.Request{Method: method})
			if err != nil {
				t.Fatalf("%.60q: %v", request, err)
			}
			b, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatalf("%.60q: %v", request, err)
			}
			res.Header.Del("Date")
			return res.Status, res.Header, string(b), res.Trailer
		}
		type answer struct {
			Status, Body    string
			Header, Trailer http.Header
		}
		var a, b answer
		seen = nil
		a.Status, a.Header, a.Body, a.Trailer = read(direct)
		b.Status, b.Header, b.Body, b.Trailer = read(through)
		if len(seen) != 2 {
			t.Fatalf("%.60q: %d requests arrived", request, len(seen))
		}
		seen[0].Header.Del("Connection") // is for one hop
		seen[1].Header.Del("Connection")
		a.Header.Del("Trailer") // as is the announcement of trailers
		if diff := cmp.Diff(seen[0], seen[1]); diff != "" {
			t.Errorf("%.60q arrives differently: %s", request, diff)
		}
		if len(a.Trailer) > 0 {
			a.Trailer, b.Trailer = nil, nil // net/http hides what was not announced
		}
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("%.60q is answered differently: %s", request, diff)
		}
		if strings.Contains(request, "close") {
			again()
		}
	}
	close(ln.gone)
}

// oneByOne is a listener of connections that come from elsewhere.
type oneByOne struct {
	conns chan net.Conn
	gone  chan struct{}
}

func (l *oneByOne) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.gone:
		return nil, net.ErrClosed
	}
}

func (l *oneByOne) Close() error   { return nil }
func (l *oneByOne) Addr() net.Addr { return &net.TCPAddr{} }

// told says when it is closed.
type told struct {
	net.Conn
	over chan struct{}
}

func (c *told) Close() error {
	select {
	case <-c.over:
	default:
		close(c.over)
	}
	return c.Conn.Close()
}
