package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"firma/internal/intent"
	"firma/internal/sidecar/sock"
	"firma/internal/verdict"
)

// The event loops and a few goroutines without a task stay for good.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("firma/internal/sidecar/sock.(*loop).run"),
		goleak.IgnoreAnyFunction("firma/internal/sidecar/crew.(*Crew[...]).work"))
}

// enforcer is a scripted Enforcer that remembers what it was asked.
type enforcer struct {
	mu      sync.Mutex
	decide  func(c *intent.Call) verdict.Decision // nil allows
	admit   func(c *intent.Call) verdict.Decision // nil allows
	strict  bool                                  // tunnels may show what accepts says, not all
	accepts verdict.Accepts
	own     string // what there is an own tunnel rule for
	distant bool   // nothing is contactable
	log     []string
	changed chan struct{} // closed at the next entry, if not nil
	ended   chan Dispatch // one per Dispatched, if not nil
}

func (e *enforcer) note(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.log = append(e.log, fmt.Sprintf(format, args...))
	if e.changed != nil {
		close(e.changed)
		e.changed = nil
	}
}

// until waits until the log is as wanted; false when that takes too long.
func (e *enforcer) until(wanted func(log []string) bool) bool {
	timeout := time.After(20 * time.Second)
	for {
		e.mu.Lock()
		if wanted(e.log) {
			e.mu.Unlock()
			return true
		}
		if e.changed == nil {
			e.changed = make(chan struct{})
		}
		changed := e.changed
		e.mu.Unlock()
		select {
		case <-changed:
		case <-timeout:
			return false
		}
	}
}

func (e *enforcer) take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := e.log
	e.log = nil
	return out
}

func (e *enforcer) Enforce(_ context.Context, c *intent.Call) verdict.Decision {
	d := verdict.Decision{Outcome: verdict.Allow, Accepts: verdict.AcceptNonTLS}
	if e.strict {
		d.Accepts = e.accepts
	}
	if e.decide != nil {
		d = e.decide(c)
	}
	if d.EventID == "" && d.Outcome != verdict.Unspecified {
		d.EventID = "aevt_1"
	}
	e.note("%s %s %s%s", d.Outcome, c.Method, c.HostKey(), c.Target())
	return d
}

func (e *enforcer) Admit(_ context.Context, c *intent.Call) verdict.Decision {
	d := verdict.Decision{Outcome: verdict.Allow}
	if e.admit != nil {
		d = e.admit(c)
	}
	e.note("admit %s %s", d.Outcome, c.HostPort())
	return d
}

func (e *enforcer) Contactable(*intent.Call) bool { return !e.distant }

func (e *enforcer) OwnTunnel(c *intent.Call) bool { return e.own == c.HostPort() }

func (e *enforcer) Malformed(_ context.Context, transport, detail string) verdict.Decision {
	e.note("malformed %s: %s", transport, detail)
	return verdict.Decision{Outcome: verdict.Deny, Reason: verdict.MalformedRequest, Detail: detail, EventID: "aevt_m"}
}

func (e *enforcer) Refuse(_ context.Context, c *intent.Call, prior verdict.Decision, r verdict.Reason, detail string) verdict.Decision {
	e.note("refuse %s after %s: %s", c.HostKey(), prior.Outcome, r)
	prior.Outcome, prior.Reason, prior.Detail = verdict.Deny, r, detail
	return prior
}

func (e *enforcer) Roomy() bool { return e.ended == nil || len(e.ended) < cap(e.ended) }
func (e *enforcer) Dispatched(_ verdict.Decision, r Dispatch) {
	if e.ended != nil {
		e.ended <- r
	}
}

func deny(d verdict.Decision) func(*intent.Call) verdict.Decision {
	return func(*intent.Call) verdict.Decision { return d }
}

// denyPath denies one path and allows the rest.
func denyPath(path string) func(*intent.Call) verdict.Decision {
	return func(c *intent.Call) verdict.Decision {
		if c.Path == path {
			return verdict.Decision{Outcome: verdict.Deny, Reason: verdict.PolicyDenied, Detail: "no"}
		}
		return verdict.Decision{Outcome: verdict.Allow}
	}
}

// dialTo is a Dialer that always connects to one address.
type dialTo string

func (d dialTo) Dial(ctx context.Context, _ string, _ uint16) (net.Conn, error) {
	return sock.Dial(ctx, 0, netip.MustParseAddrPort(string(d)))
}

type dialFunc func(ctx context.Context, host string, port uint16) (net.Conn, error)

func (f dialFunc) Dial(ctx context.Context, host string, port uint16) (net.Conn, error) {
	return f(ctx, host, port)
}

// start serves a proxy until the test ends and returns its address.
func start(t testing.TB, cfg Config) (*Server, string) {
	t.Helper()
	if cfg.Enforcer == nil {
		cfg.Enforcer = &enforcer{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.NewTextHandler(failOnLog{t}, nil))
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, sock.Listen(ln)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error("Serve:", err)
		}
		if err := s.Drain(context.Background()); err != nil {
			t.Error("Drain:", err)
		}
	})
	return s, ln.Addr().String()
}

// failOnLog makes every log line of the proxy (a panic, mostly) a failure.
type failOnLog struct{ t testing.TB }

func (f failOnLog) Write(p []byte) (int, error) {
	f.t.Errorf("logged: %s", p)
	return len(p), nil
}

// listen serves connections with handle until the test ends. It returns the
// address and a count of connections.
func listen(t testing.TB, handle func(c *net.TCPConn, r *bufio.Reader)) (string, func() int) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var conns []net.Conn
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				handle(c.(*net.TCPConn), bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return ln.Addr().String(), func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(conns)
	}
}

// readHead reads up to and including the empty line.
func readHead(r *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		b.WriteString(line)
		if err != nil || line == "\r\n" {
			return b.String(), err
		}
	}
}

// answering is an origin that answers every bodyless request with the same bytes
// and passes on the heads it saw.
func answering(t testing.TB, response string) (addr string, heads chan string, conns func() int) {
	heads = make(chan string, 1000)
	addr, conns = listen(t, func(c *net.TCPConn, r *bufio.Reader) {
		for {
			head, err := readHead(r)
			if err != nil {
				return
			}
			heads <- head
			if _, err := io.WriteString(c, response); err != nil {
				return
			}
		}
	})
	return addr, heads, conns
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// client is one raw connection to the proxy.
type rawClient struct {
	*net.TCPConn
	t testing.TB
	r *bufio.Reader
}

func connectTo(t testing.TB, addr string) *rawClient {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second)) // a hang is a failure, not a wait
	t.Cleanup(func() { c.Close() })
	return &rawClient{c.(*net.TCPConn), t, bufio.NewReader(c)}
}

func (c *rawClient) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

// expect reads exactly len(want) bytes and compares.
func (c *rawClient) expect(want string) {
	c.t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(c.r, got)
	if string(got[:n]) != want {
		c.t.Fatalf("got %q (%v), want %q", got[:n], err, want)
	}
}

// response reads a response with Content-Length (none for bodyless) and returns
// status line, head and body.
func (c *rawClient) response() (status, head, body string) {
	c.t.Helper()
	head, err := readHead(c.r)
	if err != nil {
		c.t.Fatalf("response head %q: %v", head, err)
	}
	status, _, _ = strings.Cut(head, "\r\n")
	status, _, _ = strings.Cut(status, " (firma: ") // TestDenialBodies
	var n int
	if _, rest, found := strings.Cut(head, "Content-Length: "); found {
		fmt.Sscanf(rest, "%d", &n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c.r, b); err != nil {
		c.t.Fatalf("response body: %v after %q", err, head)
	}
	return status, head, string(b)
}

// expectEOF requires that the proxy closes in an orderly way and sent no more.
func (c *rawClient) expectEOF() {
	c.t.Helper()
	if b, err := io.ReadAll(c.r); err != nil || len(b) > 0 {
		c.t.Errorf("after the end: %q, %v", b, err)
	}
}

var errTest = errors.New("test")

func receive[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

type chanWriter chan string

func (c chanWriter) Write(p []byte) (int, error) {
	c <- string(p)
	return len(p), nil
}

func logTo(c chan string) *slog.Logger { return slog.New(slog.NewTextHandler(chanWriter(c), nil)) }
