package proxy

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"firma/internal/intent"
	"firma/internal/sidecar/http1"
	"firma/internal/sidecar/sock"
	"firma/internal/verdict"
)

// TestSlowRecord: whoever waits for the record of a tunnel's end, an audit log on a
// slow disk, holds up no other tunnel.
func TestSlowRecord(t *testing.T) {
	addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) { io.Copy(c, r) })
	e := &slow{gate: make(chan struct{})}
	_, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: e})
	t.Cleanup(func() { close(e.gate) })
	n := 2 * runtime.GOMAXPROCS(0)
	open := func() *rawClient {
		c := connectTo(t, proxy)
		c.send(connectReq + "x")
		c.expect(established + "x")
		return c
	}
	for range n {
		c := open()
		c.CloseWrite()
		c.expectEOF()
	}
	for range n {
		open().Close()
	}
}

// slow is an enforcer that records nothing until gate is closed.
type slow struct {
	enforcer
	gate chan struct{}
}

func (s *slow) Roomy() bool                           { return false }
func (s *slow) Dispatched(verdict.Decision, Dispatch) { <-s.gate }

// TestRecordPanics: a tunnel whose end can't be recorded is gone all the same.
func TestRecordPanics(t *testing.T) {
	addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) { io.Copy(c, r) })
	e := &enforcer{ended: make(chan Dispatch)}
	close(e.ended)
	logged := make(chan string, 1)
	s, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: e, Log: logTo(logged)})
	c := connectTo(t, proxy)
	c.send(connectReq + "x")
	c.expect(established + "x")
	c.Close()
	if text := receive(t, logged); !strings.Contains(text, "panic") {
		t.Error(text)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.Drain(ctx); err != nil {
		t.Error(err)
	}
}

// TestSentInPart: what the upstream has taken is recorded, though it took no more.
func TestSentInPart(t *testing.T) {
	const taken = 40
	s, err := New(Config{Enforcer: &enforcer{}, Dialer: dialTo("")})
	if err != nil {
		t.Fatal(err)
	}
	client := &pieces{says: []byte(helloBytes(t, nil)), size: 1 << 20}
	tun := &tunnel{srv: s, client: client, upstream: &takesLittle{pieces: pieces{Conn: client}, most: taken}}
	tun.opening = newOpening(&intent.Call{Host: "api.example.com", Port: 443}, 0, http1.NewReader(client), false)
	if tun.open() || tun.sent != taken || tun.failure == nil {
		t.Errorf("%d bytes of an opening are recorded, want %d; %v", tun.sent, taken, tun.failure)
	}
	tun = &tunnel{srv: s, client: client, upstream: &takesLittle{pieces: pieces{Conn: client}, most: taken}}
	if n, err := tun.carry(tun.upstream, strings.NewReader(strings.Repeat("x", 2*taken))); n != taken || err == nil {
		t.Errorf("%d bytes are recorded, want %d; %v", n, taken, err)
	}
}

// takesLittle is an upstream that takes no more than that.
type takesLittle struct {
	pieces
	most int
}

func (l *takesLittle) Write(b []byte) (int, error) {
	n := min(len(b), l.most)
	l.most -= n
	if n < len(b) {
		return n, syscall.ECONNRESET
	}
	return n, nil
}

// failing is an enforcer that can record no end, neither in an event loop nor elsewhere.
type failing struct{ enforcer }

func (*failing) Roomy() bool                           { return true }
func (*failing) Dispatched(verdict.Decision, Dispatch) { panic("dispatched") }
func (*failing) Refuse(context.Context, *intent.Call, verdict.Decision, verdict.Reason, string) verdict.Decision {
	panic("refuse")
}

// TestRecordPanicsAnywhere: a panic ends one tunnel, whoever has its last part: an event
// loop, which others need, or who judges a second ClientHello.
func TestRecordPanicsAnywhere(t *testing.T) {
	hello := helloBytes(t, nil)
	evil := strings.Replace(hello, "api.example.com", "evil.example.co", 1)
	addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
		b := make([]byte, len(hello))
		if n, _ := io.ReadFull(r, b[:1]); n == 1 && b[0] == hello[0] {
			io.ReadFull(r, b[1:])
			io.WriteString(c, retryRequest)
		} else {
			c.Write(b[:n])
		}
		io.Copy(c, r)
	})
	logged := make(chan string, 100)
	s, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: &failing{}, Log: logTo(logged)})
	open := func(says, hears string) *rawClient {
		c := connectTo(t, proxy)
		c.send(connectReq + says)
		c.expect(established + hears)
		return c
	}
	for range 2 * runtime.GOMAXPROCS(0) {
		open("x", "x").Close()
		if text := receive(t, logged); !strings.Contains(text, "dispatched") {
			t.Error(text)
		}
		c := open(hello, retryRequest)
		c.send(evil)
		if text := receive(t, logged); !strings.Contains(text, "refuse") {
			t.Error(text)
		}
	}
	var last []*rawClient
	for range 2 * runtime.GOMAXPROCS(0) {
		last = append(last, open("x", "x"))
	}
	for _, c := range last {
		c.send("y")
		c.expect("y")
		c.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.Drain(ctx); err != nil {
		t.Error(err)
	}
}

// TestRefusedUnderFlood: an upstream that sends without end to a client that does
// not read can't put off the refusal of that client's opening.
func TestRefusedUnderFlood(t *testing.T) {
	flooded := make(chan struct{})
	addr, _ := listen(t, func(c *net.TCPConn, _ *bufio.Reader) {
		defer close(flooded)
		for {
			if _, err := c.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	})
	e := &enforcer{strict: true}
	_, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: e})
	c := connectTo(t, proxy)
	c.send(connectReq)
	c.expect(established + string(make([]byte, 16<<20))) // both sockets are as large as they get
	c.send(strings.Replace(helloBytes(t, nil), "api.example.com", "api.example.net", 1))
	receive(t, flooded)
	e.untilLast(t, "refuse api.example.com after ALLOW: MalformedRequest")
}

// TestUpstreamLeavesDuringOpening: what ends then is the tunnel, not the client's
// right to it.
func TestUpstreamLeavesDuringOpening(t *testing.T) {
	bothWays(t, func(t *testing.T, dialer func(string) Dialer) {
		addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
			io.WriteString(c, "x")
			c.Read(make([]byte, 1)) // that the client has read it
			c.SetLinger(0)
		})
		begun := make(chan net.Conn, 1)
		e := &enforcer{strict: true, ended: make(chan Dispatch, 1)}
		d := dialer(addr)
		_, proxy := start(t, Config{Enforcer: e, Dialer: dialFunc(func(ctx context.Context, host string, port uint16) (net.Conn, error) {
			nc, err := d.Dial(ctx, host, port)
			begun <- nc
			return nc, err
		})})
		c := connectTo(t, proxy)
		c.send(connectReq)
		c.expect(established + "x")
		c.send("\x16\x03\x01")
		receive(t, begun).Write([]byte("y")) // the upstream leaves
		io.Copy(io.Discard, c.r)
		if d := receive(t, e.ended); d.Abort != verdict.ConnectorFailure {
			t.Errorf("%+v", d)
		}
	})
}

// TestOpeningUnderOthersDeadline: what the opening could not read, since the wake-up
// of an idle connection came late, is not carried unjudged.
func TestOpeningUnderOthersDeadline(t *testing.T) {
	near, far := tcpPair(t)
	io.WriteString(near, helloBytes(t, nil))
	far.SetReadDeadline(past)
	o := newOpening(&intent.Call{Host: "api.example.net", Port: 443}, 0, http1.NewReader(far), false)
	if o.look(far, time.Second) == "" {
		t.Error("a ClientHello for another name passes")
	}
}

// TestOpeningUnreadable: an opening that could not be read, since descriptors or memory
// ran out for a moment, is not carried unjudged when they are there again.
func TestOpeningUnreadable(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EMFILE, syscall.ENOMEM, io.ErrNoProgress} {
		near, far := tcpPair(t)
		io.WriteString(near, helloBytes(t, nil))
		short := &failsOnce{Conn: far, err: cause}
		o := newOpening(&intent.Call{Host: "api.example.net", Port: 443}, 0, http1.NewReader(short), false)
		if o.look(short, time.Second) == "" {
			t.Errorf("%v: a ClientHello for another name passes", cause)
		}
	}
}

// failsOnce is a connection whose first read fails.
type failsOnce struct {
	net.Conn
	err error
}

func (f *failsOnce) Read(b []byte) (int, error) {
	if err := f.err; err != nil {
		f.err = nil
		return 0, err
	}
	return f.Conn.Read(b)
}

// TestTunnelChaos ends tunnels in every way in every phase: each that was allowed
// is recorded once, no more bytes arrive than are recorded, and none that are not behind
// a ClientHello for the host. More rounds by hand: FIRMA_CHAOS=1000.
func TestTunnelChaos(t *testing.T) {
	rounds, _ := strconv.Atoi(os.Getenv("FIRMA_CHAOS"))
	hello := helloBytes(t, nil)
	firsts := []string{"", "x", hello[:20], hello, hello + "more", strings.Replace(hello, "api.example.com", "api.example.net", 1),
		hello + changed, hello + hello, hello + earlyData[:8], hello + strings.Replace(hello, "api.example.com", "api.example.net", 1)}
	var arrived atomic.Int64
	addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
		var wg sync.WaitGroup
		how := rand.IntN(9)
		wg.Go(func() {
			switch how {
			case 6:
				io.WriteString(c, retryRequest)
			case 7:
				io.WriteString(c, usualAnswer[:20])
				io.WriteString(c, usualAnswer[20:])
			case 0:
				c.SetLinger(0)
				c.Close()
			case 1:
				c.Write(make([]byte, rand.IntN(1<<22)))
			case 2:
				c.Write([]byte("x"))
				c.SetLinger(0)
				c.Close()
			case 3:
				c.CloseWrite()
			}
		})
		b, _ := io.ReadAll(r)
		got := string(b)
		arrived.Add(int64(len(got)))
		if !strings.HasPrefix(got, hello) && !strings.HasPrefix(hello, got) || how == 6 && strings.Contains(got, "api.example.net") {
			t.Errorf("%q arrived, which must not pass", got)
		}
		wg.Wait()
	})
	e := &tallying{}
	for range max(rounds, 2) {
		s, err := New(Config{Dialer: dialTo(addr), Enforcer: e, Log: slog.New(slog.NewTextHandler(failOnLog{t}, nil)),
			StreamIdle: time.Duration(1+rand.IntN(40)) * time.Millisecond, HeadTimeout: 20 * time.Millisecond,
			IdleTimeout: 50 * time.Millisecond}) // an upstream that resets at once is an answer, and the client may ask again
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- s.Serve(context.Background(), sock.Listen(ln)) }()
		var wg sync.WaitGroup
		for range 80 {
			wg.Go(func() {
				nc, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				c := nc.(*net.TCPConn)
				defer c.Close()
				io.WriteString(c, connectReq)
				if rand.IntN(2) == 0 {
					io.ReadFull(c, make([]byte, len(established)))
				}
				io.WriteString(c, firsts[rand.IntN(len(firsts))])
				if rand.IntN(2) == 0 {
					c.Read(make([]byte, rand.IntN(1<<16)))
				}
				switch rand.IntN(4) {
				case 0:
					c.SetLinger(0)
				case 1:
					c.CloseWrite()
					io.Copy(io.Discard, c)
				case 2:
					io.Copy(io.Discard, c)
				case 3:
					c.Read(make([]byte, 1<<10))
					io.WriteString(c, hello)
				}
			})
			wg.Go(func() {
				if rand.IntN(8) == 0 {
					s.Recheck(func(*intent.Call, verdict.Decision) verdict.Reason {
						if rand.IntN(3) == 0 {
							return verdict.CapabilityRevoked
						}
						return verdict.None
					})
				}
			})
		}
		wg.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(60))*time.Millisecond)
		s.Drain(ctx) // and what is left is cut
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if n := s.Conns(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
		if a, b := e.allowed.Load(), e.ended.Load(); a != b {
			t.Fatalf("%d tunnels were allowed, the end of %d was recorded", a, b)
		}
		if a, b := arrived.Load(), e.sent.Load(); a > b {
			t.Fatalf("%d bytes arrived, %d were recorded", a, b)
		}
	}
}

// tallying is an enforcer that counts.
type tallying struct {
	enforcer
	allowed, ended, sent atomic.Int64
}

func (e *tallying) Enforce(context.Context, *intent.Call) verdict.Decision {
	e.allowed.Add(1)
	return verdict.Decision{Outcome: verdict.Allow}
}

func (e *tallying) Refuse(_ context.Context, _ *intent.Call, d verdict.Decision, _ verdict.Reason, _ string) verdict.Decision {
	e.ended.Add(1)
	e.sent.Add(4 << 10) // a first hello may have been sent before the second was refused
	return d
}

func (e *tallying) Roomy() bool { return e.ended.Load()%2 == 0 } // both ways

func (e *tallying) Dispatched(_ verdict.Decision, r Dispatch) {
	e.ended.Add(1)
	e.sent.Add(r.RequestBytes)
}
