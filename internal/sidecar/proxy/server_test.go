package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestThousandConcurrentConnections(t *testing.T) {
	const conns, requests = 1000, 5
	addr, heads, _ := answering(t, ok)
	go func() {
		for range heads {
		}
	}()
	defer close(heads)
	e := &enforcer{decide: denyPath("/no")}
	_, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: e})
	clients := make([]*rawClient, conns)
	for i := range clients {
		clients[i] = connectTo(t, proxy)
	}
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() {
			for range requests {
				if i%10 == 0 {
					c.send(strings.Replace(get, "/x", "/no", 1) + "\r\n")
					if status, _, _ := c.response(); status != "HTTP/1.1 403 Forbidden" {
						t.Error(status)
					}
					continue
				}
				c.send(get + "\r\n")
				c.expect(ok)
			}
			c.Close()
		})
	}
	wg.Wait()
	if n := len(e.take()); n != conns*requests {
		t.Errorf("%d decisions for %d requests", n, conns*requests)
	}
}

func TestConnectionsBeyondTheLimitWait(t *testing.T) {
	addr, _, _ := answering(t, ok)
	_, proxy := start(t, Config{Dialer: dialTo(addr), MaxConns: 1})
	first, second := connectTo(t, proxy), connectTo(t, proxy)
	first.send(get + "\r\n")
	first.expect(ok)
	second.send(get + "\r\n") // accepted by the kernel, not yet by us
	first.send(get + "\r\n")
	first.expect(ok)
	first.Close()
	second.expect(ok)
}

// serve is start without the automatic end.
func serve(t *testing.T, cfg Config) (s *Server, addr string, done chan error) {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done = make(chan error, 1)
	go func() { done <- s.Serve(context.Background(), ln) }()
	return s, ln.Addr().String(), done
}

func TestDrain(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
		readHead(r)
		close(asked)
		<-release
		io.WriteString(c, ok)
	})
	s, proxy, done := serve(t, Config{Enforcer: &enforcer{}, Dialer: dialTo(addr)})
	idle, busy := connectTo(t, proxy), connectTo(t, proxy)
	busy.send(get + "\r\n")
	receive(t, asked)
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(context.Background()) }()
	idle.expectEOF()
	if c, err := net.Dial("tcp", proxy); err == nil { // closed, or about to be
		c.Close()
	}
	close(release)
	busy.expect("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
	busy.expectEOF()
	if err := receive(t, drained); err != nil {
		t.Error(err)
	}
	if err := receive(t, done); err != nil {
		t.Error(err)
	}
	if s.Conns() != 0 {
		t.Error("connections left")
	}
}

// TestScarce: a connection that can't be waited for is closed, and the log says why, once
// for a flood.
func TestScarce(t *testing.T) {
	logged := make(chan string, 10)
	s, err := New(Config{Enforcer: &enforcer{}, Dialer: dialTo(""), Log: logTo(logged)})
	if err != nil {
		t.Fatal(err)
	}
	ln := &late{conns: make(chan net.Conn), accepting: make(chan struct{}, 1)}
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- s.Serve(ctx, ln) }()
	for range 3 {
		near, far := net.Pipe()
		ln.conns <- &failsOnce{Conn: near, err: os.NewSyscallError("epoll_ctl", syscall.ENOSPC)}
		if _, err := far.Read(make([]byte, 1)); err != io.EOF {
			t.Error(err)
		}
	}
	cancel()
	close(ln.conns)
	if err := receive(t, done); err != nil {
		t.Error(err)
	}
	if len(logged) != 1 || !strings.Contains(<-logged, "no space left on device") {
		t.Errorf("%d lines in the log", len(logged))
	}
}

// What is accepted after all have gone is nobody's: Drain has returned, and the session
// may be closed.
func TestAcceptedAfterDrain(t *testing.T) {
	e := &enforcer{own: "db.example.com:5432"}
	s, err := New(Config{Enforcer: e, Dialer: dialFunc(func(context.Context, string, uint16) (net.Conn, error) {
		return nil, errors.New("dialled")
	})})
	if err != nil {
		t.Fatal(err)
	}
	ln := &late{conns: make(chan net.Conn), accepting: make(chan struct{}, 1)}
	done := make(chan error, 1)
	go func() {
		done <- s.ServeStreams(context.Background(), ln, func(net.Conn) (string, uint16, error) { return "db.example.com", 5432, nil })
	}()
	receive(t, ln.accepting)
	if err := s.Drain(context.Background()); err != nil {
		t.Error(err)
	}
	near, far := net.Pipe()
	ln.conns <- near
	close(ln.conns)
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Error(err)
	}
	if err := receive(t, done); err != nil {
		t.Error(err)
	}
	if log := e.take(); len(log) != 0 {
		t.Errorf("judged after the end: %q", log)
	}
}

// late is a listener that has accepted before it is closed.
type late struct {
	net.Listener
	conns     chan net.Conn
	accepting chan struct{}
}

func (l *late) Accept() (net.Conn, error) {
	select {
	case l.accepting <- struct{}{}:
	default:
	}
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (l *late) Close() error { return nil }

func TestDrainLosesPatience(t *testing.T) {
	addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) { io.Copy(c, r) })
	s, proxy, done := serve(t, Config{Enforcer: &enforcer{}, Dialer: dialTo(addr)})
	c := connectTo(t, proxy)
	c.send(connectReq)
	c.expect(established)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	io.Copy(io.Discard, c.r) // ends
	receive(t, done)
}

func TestServeEndsWithItsContext(t *testing.T) {
	addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) { io.Copy(io.Discard, r) })
	s, err := New(Config{Enforcer: &enforcer{}, Dialer: dialTo(addr)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done, proxies := make(chan error, 2), [2]string{}
	for i := range proxies {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		proxies[i] = ln.Addr().String()
		go func() { done <- s.Serve(ctx, ln) }()
	}
	tunnel, waiting, idle := connectTo(t, proxies[0]), connectTo(t, proxies[1]), connectTo(t, proxies[0])
	tunnel.send(connectReq)
	tunnel.expect(established)
	waiting.send(get + "\r\n")
	cancel()
	for range proxies {
		if err := receive(t, done); err != nil {
			t.Error(err)
		}
	}
	for _, c := range []*rawClient{tunnel, waiting, idle} {
		io.Copy(io.Discard, c.r) // ends
	}
	s.Drain(context.Background())
}

// brokenListener fails as often as told, then works.
type brokenListener struct {
	net.Listener
	errs []error
}

func (l *brokenListener) Accept() (net.Conn, error) {
	if len(l.errs) > 0 {
		err := l.errs[0]
		l.errs = l.errs[1:]
		return nil, err
	}
	return l.Listener.Accept()
}

func TestAcceptErrors(t *testing.T) {
	addr, _, _ := answering(t, ok)
	s, err := New(Config{Enforcer: &enforcer{}, Dialer: dialTo(addr)})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	emfile := &net.OpError{Op: "accept", Err: os.NewSyscallError("accept", syscall.EMFILE)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, &brokenListener{ln, []error{emfile, emfile}}) }()
	c := connectTo(t, ln.Addr().String())
	c.send(get + "\r\n")
	c.expect(ok)
	cancel()
	if err := receive(t, done); err != nil {
		t.Error(err)
	}
	ln, _ = net.Listen("tcp", "127.0.0.1:0")
	if err := s.Serve(context.Background(), &brokenListener{ln, []error{errTest}}); !errors.Is(err, errTest) {
		t.Error(err)
	}
}

func TestNewRefusesBadConfig(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no enforcer": {Dialer: dialTo("")}, "no dialer": {Enforcer: &enforcer{}},
		"unlimited head": {Enforcer: &enforcer{}, Dialer: dialTo(""), HeadTimeout: -1},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// origin is a real HTTP server with a handful of paths.
func origin(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Seen", fmt.Sprint(r.Method, " ", r.Host, r.URL.RequestURI(), " ", len(body)))
		w.Write(body)
	})}
	done := make(chan struct{})
	go func() { srv.Serve(ln); close(done) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return ln.Addr().String()
}

func TestGoClient(t *testing.T) {
	_, proxy := start(t, Config{Dialer: dialTo(origin(t))})
	tr := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: proxy})}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr}
	for _, size := range []int{0, 10, 100_000, 5 << 20} {
		for _, known := range []bool{true, false} {
			var body io.Reader = strings.NewReader(strings.Repeat("x", size))
			if !known {
				body = struct{ io.Reader }{body}
			}
			resp, err := client.Post("http://api.example.com/a?b=c", "text/plain", body)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if want := fmt.Sprint("POST api.example.com/a?b=c ", size); err != nil || len(b) != size || resp.Header.Get("X-Seen") != want {
				t.Errorf("%q (want %q), %d bytes %.200q, %v", resp.Header.Get("X-Seen"), want, len(b), b, err)
			}
		}
	}
}

// run runs a program with the proxy in its environment.
func run(t *testing.T, proxy, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("no %s on this machine", name)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), "http_proxy=http://"+proxy, "https_proxy=http://"+proxy, "no_proxy=", "NO_PROXY=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func TestCurl(t *testing.T) {
	e := &enforcer{decide: denyPath("/no")}
	_, proxy := start(t, Config{Dialer: dialTo(origin(t)), Enforcer: e})
	big := t.TempDir() + "/big"
	if err := os.WriteFile(big, []byte(strings.Repeat("x", 2<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	const url = "http://api.example.com/a"
	format := []string{"-sS", "--max-time", "20", "-w", "|%{http_code} %header{x-seen}|%{size_download}", "-o", "/dev/null"}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{url}, "|200 GET api.example.com/a 0|0"},
		{[]string{"-I", url}, "|200 HEAD api.example.com/a 0|0"},
		{[]string{"--http1.0", url}, "|200 GET api.example.com/a 0|0"},
		{[]string{"-d", "hello", url}, "|200 POST api.example.com/a 5|5"},
		{[]string{"-T", big, url}, "|200 PUT api.example.com/a 2097152|2097152"},
		{[]string{"-H", "Expect: 100-continue", "--data-binary", "@" + big, url}, "|200 POST api.example.com/a 2097152|2097152"},
		{[]string{"-H", "Transfer-Encoding: chunked", "--data-binary", "@" + big, url}, "|200 POST api.example.com/a 2097152|2097152"},
		{[]string{"--http2", url}, "|200 GET api.example.com/a 0|0"},
		{[]string{"-p", url}, "|200 GET api.example.com/a 0|0"}, // through a tunnel
	} {
		if got := run(t, proxy, "curl", append(append([]string{}, format...), tt.args...)...); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.args, got, tt.want)
		}
	}
	got := run(t, proxy, "curl", "-sS", "--max-time", "20", "http://api.example.com/no", "http://api.example.com/no")
	if strings.Count(got, `"denied":true`) != 2 {
		t.Error(got)
	}
}

func TestPython(t *testing.T) {
	e := &enforcer{decide: denyPath("/no")}
	_, proxy := start(t, Config{Dialer: dialTo(origin(t)), Enforcer: e})
	const script = `
import http.client, urllib.request, urllib.error, json, os
print(urllib.request.urlopen("http://api.example.com/a", data=b"hello").read().decode())
try:
    urllib.request.urlopen("http://api.example.com/no")
except urllib.error.HTTPError as e:
    print(e.code, json.load(e)["reason"])
c = http.client.HTTPConnection(os.environ["http_proxy"][7:])
c.set_tunnel("api.example.com", 80)
c.request("GET", "/tunnelled")
print(c.getresponse().headers["x-seen"])
`
	if got, want := run(t, proxy, "python3", "-c", script), "hello\n403 PolicyDenied\nGET api.example.com/tunnelled 0\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestWatcherOfADrainedServer(t *testing.T) {
	addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) { io.Copy(io.Discard, r) })
	s, proxy, done := serve(t, Config{Enforcer: &enforcer{}, Dialer: dialTo(addr)})
	c := connectTo(t, proxy)
	c.send(get + "\r\n")
	untilWatched(t, s)
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if err := s.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	receive(t, done)
}

// TestScarceOnASlowLog: a log that takes no more holds up the connection that is spoken
// of, and no other.
func TestScarceOnASlowLog(t *testing.T) {
	full := &fullLog{asked: make(chan struct{}), gate: make(chan struct{})}
	addr, _, _ := answering(t, ok)
	s, err := New(Config{Enforcer: &enforcer{}, Dialer: dialTo(addr), Log: slog.New(slog.NewTextHandler(full, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ln := &late{conns: make(chan net.Conn), accepting: make(chan struct{}, 1)}
	done := make(chan error, 1)
	go func() { done <- s.Serve(context.Background(), ln) }()
	failing, _ := net.Pipe()
	ln.conns <- &failsOnce{Conn: failing, err: syscall.ENOSPC}
	receive(t, full.asked)
	near, far := net.Pipe()
	ln.conns <- near
	far.SetDeadline(time.Now().Add(20 * time.Second)) // a hang is a failure
	io.WriteString(far, get+"\r\n")
	if _, err := io.ReadFull(far, make([]byte, len(ok))); err != nil {
		t.Error(err)
	}
	far.Close()
	close(full.gate)
	close(ln.conns)
	if err := s.Drain(context.Background()); err != nil {
		t.Error(err)
	}
	receive(t, done)
}

// fullLog takes nothing until gate is closed.
type fullLog struct{ asked, gate chan struct{} }

func (l *fullLog) Write(b []byte) (int, error) {
	close(l.asked)
	<-l.gate
	return len(b), nil
}
