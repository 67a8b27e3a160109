package proxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"

	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firma/internal/intent"
	"firma/internal/verdict"
)

const post = "POST http://api.example.com/x HTTP/1.1\r\nHost: api.example.com\r\n"

func TestRequestBodies(t *testing.T) {
	const head = "POST /x HTTP/1.1\r\nHost: api.example.com\r\n"
	for _, tt := range []struct {
		name, first, later, want string
		bytes                    int64
	}{
		{"length", post + "Content-Length: 5\r\n\r\nhello", "", head + "Content-Length: 5\r\n\r\nhello", 5},
		{"length, in two", post + "Content-Length: 10\r\n\r\nhello", "world", head + "Content-Length: 10\r\n\r\nhelloworld", 10},
		{"length, body later", post + "Content-Length: 5\r\n\r\n", "hello", head + "Content-Length: 5\r\n\r\nhello", 5},
		{"chunked", post + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "",
			head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 5},
		{"chunked, in two", post + "Transfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n", "0005\r\nworld\r\n0\r\n\r\n",
			head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n", 10},
		{"trailers are dropped", post + "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-HTTP-Method-Override: DELETE\r\n\r\n", "",
			head + "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, begun := make(chan string, 1), make(chan struct{})
			addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
				b := make([]byte, len(tt.want))
				r.Read(b[:1])
				close(begun) // the head is not kept back until the body is complete
				io.ReadFull(r, b[1:])
				got <- string(b)
				io.WriteString(c, ok)
			})
			e := &enforcer{ended: make(chan Dispatch, 1)}
			_, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: e})
			c := connectTo(t, proxy)
			c.send(tt.first)
			receive(t, begun)
			c.send(tt.later)
			if diff := cmp.Diff(tt.want, receive(t, got)); diff != "" {
				t.Error(diff)
			}
			c.expect(ok)
			d := receive(t, e.ended)
			if d.Latency <= 0 {
				t.Error("no latency")
			}
			d.Latency = 0
			if diff := cmp.Diff(Dispatch{Status: 200, RequestBytes: tt.bytes, ResponseBytes: 2}, d); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestEventsArriveAsTheyAreSent: the origin sends an event only when the client
// has seen the one before.
func TestEventsArriveAsTheyAreSent(t *testing.T) {
	for name, framing := range map[string]struct{ head, event, want string }{
		"chunked":     {"Transfer-Encoding: chunked\r\n\r\n", "8\r\ndata: x\n\r\n", "8\r\ndata: x\n\r\n"},
		"until close": {"\r\n", "data: x\n", "8\r\ndata: x\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			seen := make(chan struct{})
			addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
				readHead(r)
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"+framing.head)
				for range 5 {
					<-seen
					io.WriteString(c, framing.event)
				}
				if name == "chunked" {
					io.WriteString(c, "0\r\n\r\n")
				}
			})
			_, proxy := start(t, Config{Dialer: dialTo(addr)})
			c := connectTo(t, proxy)
			c.send(get + "\r\n")
			c.expect("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
			for range 5 {
				seen <- struct{}{}
				c.expect(framing.want)
			}
			c.expect("0\r\n\r\n")
		})
	}
}

func TestBidirectionalStream(t *testing.T) {
	addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
		readHead(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		io.Copy(c, r) // echoes the chunks
	})
	_, proxy := start(t, Config{Dialer: dialTo(addr)})
	c := connectTo(t, proxy)
	c.send(post + "Transfer-Encoding: chunked\r\n\r\n")
	c.expect("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
	for i := range 10 {
		chunk := fmt.Sprintf("2\r\n%02d\r\n", i)
		c.send(chunk)
		c.expect(chunk)
	}
	c.send("0\r\n\r\n")
	c.expect("0\r\n\r\n")
}

func TestExpectContinue(t *testing.T) {
	const wait = post + "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
	t.Run("continued", func(t *testing.T) {
		addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
			head, _ := readHead(r)
			if !strings.Contains(head, "Expect: 100-continue\r\n") {
				t.Error(head)
			}
			io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
			b := make([]byte, 5)
			io.ReadFull(r, b)
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n%s", b)
			readHead(r)
			io.WriteString(c, ok)
		})
		_, proxy := start(t, Config{Dialer: dialTo(addr)})
		c := connectTo(t, proxy)
		c.send(wait)
		c.expect("HTTP/1.1 100 Continue\r\n\r\n")
		c.send("hello")
		c.expect("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
		c.send(get + "\r\n")
		c.expect(ok)
	})
	t.Run("final at once", func(t *testing.T) {
		addr, _, _ := answering(t, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
		_, proxy := start(t, Config{Dialer: dialTo(addr)})
		c := connectTo(t, proxy)
		c.send(wait)
		c.expect("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		c.expectEOF()
	})
	t.Run("body sent without waiting", func(t *testing.T) {
		addr, heads, _ := answering(t, ok)
		_, proxy := start(t, Config{Dialer: dialTo(addr)})
		c := connectTo(t, proxy)
		c.send(wait + "hello")
		c.expect(ok)
		if head := receive(t, heads); strings.Contains(head, "Expect") {
			t.Error("nobody waits any more:", head)
		}
	})
}

func TestEarlyResponseEndsTheUpload(t *testing.T) {
	addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
		readHead(r)
		io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
		io.Copy(io.Discard, r)
	})
	_, proxy := start(t, Config{Dialer: dialTo(addr)})
	c := connectTo(t, proxy)
	c.send(post + "Content-Length: 1000000000\r\n\r\n" + strings.Repeat("x", 100_000))
	c.expect("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
	c.expectEOF()
}

func TestMalformedBodyMidway(t *testing.T) {
	got, begun := make(chan string, 1), make(chan struct{})
	addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
		readHead(r)
		close(begun)
		b, _ := io.ReadAll(r)
		got <- string(b)
	})
	e := &enforcer{ended: make(chan Dispatch, 2)}
	_, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: e})
	c := connectTo(t, proxy)
	c.send(post + "Transfer-Encoding: chunked\r\n\r\n")
	receive(t, begun)
	c.send("5\r\nhello\r\n-1\r\nGET /smuggled HTTP/1.1\r\n")
	status, _, body := c.response()
	if status != "HTTP/1.1 504 Gateway Timeout" || !strings.Contains(body, `"CONNECTOR_INVALID_REQUEST"`) {
		t.Errorf("%s %s", status, body)
	}
	c.expectEOF()
	if up := receive(t, got); strings.HasSuffix(up, "0\r\n\r\n") || strings.Contains(up, "smuggled") {
		t.Errorf("upstream took it for complete: %q", up)
	}
	if d := receive(t, e.ended); d.Abort != verdict.ConnectorInvalidRequest {
		t.Errorf("%+v", d)
	}
}

// TestBrokenUpstream: the client always notices, and the dispatch is recorded.
func TestBrokenUpstream(t *testing.T) {
	for _, tt := range []struct {
		name, request, response string
		reset                   bool
		want                    string // "504", or what the client gets before its connection breaks
		code                    verdict.Reason
	}{
		{"closes at once", get, "", false, "504", verdict.ConnectorFailure},
		{"resets at once", get, "", true, "504", verdict.ConnectorFailure},
		{"cut head", get, "HTTP/1.1 200 OK\r\nContent-", false, "504", verdict.ConnectorFailure},
		{"malformed head", get, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", false, "504", verdict.ConnectorFailure},
		{"not HTTP", get, "SSH-2.0-OpenSSH\r\n", false, "504", verdict.ConnectorFailure},
		{"101 without the accept", get + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", false, "504", verdict.ConnectorFailure},
		{"101 with another's accept", get + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: y\r\n", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: JVxkmtKFjDcI/Pm/AGPEKSN6wT8=\r\n\r\n", false, "504", verdict.ConnectorFailure},
		{"101 nobody asked for", get, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", false, "504", verdict.ConnectorFailure},
		{"endless interim", get, strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", maxInterim+1), false, "504", verdict.ConnectorFailure},
		{"cut length", get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", false, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", verdict.ConnectorFailure},
		{"cut chunk", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", false,
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", verdict.ConnectorFailure},
		{"no last chunk", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", false,
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", verdict.ConnectorFailure},
		{"malformed chunk", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\nzz\r\n", false,
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", verdict.ConnectorFailure},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
				readHead(r)
				io.WriteString(c, tt.response)
				if tt.reset {
					c.SetLinger(0)
				}
			})
			e := &enforcer{ended: make(chan Dispatch, 1)}
			_, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: e})
			c := connectTo(t, proxy)
			c.send(tt.request + "\r\n")
			if tt.want == "504" {
				status, _, body := c.response()
				if status != "HTTP/1.1 504 Gateway Timeout" || !strings.HasPrefix(body, `{"aborted":true,"reason":"`+string(tt.code)) {
					t.Errorf("%s %s", status, body)
				}
			} else {
				c.expect(tt.want)
				c.expectEOF()
			}
			if d := receive(t, e.ended); d.Abort != tt.code || d.Detail == "" {
				t.Errorf("%+v", d)
			}
		})
	}
}

func TestCutResponseOf10IsNoEnd(t *testing.T) {
	addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
		readHead(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n")
	})
	_, proxy := start(t, Config{Dialer: dialTo(addr)})
	c := connectTo(t, proxy)
	c.send("GET http://api.example.com/x HTTP/1.0\r\n\r\n")
	if b, err := io.ReadAll(c.r); err == nil {
		t.Errorf("a cut body looks complete: %q", b)
	}
}

func TestResponseTimeout(t *testing.T) {
	addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) { io.Copy(io.Discard, r) })
	e := &enforcer{ended: make(chan Dispatch, 1)}
	_, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: e, ResponseTimeout: 10 * time.Millisecond})
	c := connectTo(t, proxy)
	c.send(post + "Content-Length: 5\r\n\r\nhello")
	if status, _, body := c.response(); status != "HTTP/1.1 504 Gateway Timeout" || !strings.Contains(body, "CONNECTOR_TIMEOUT") {
		t.Errorf("%s %s", status, body)
	}
	if d := receive(t, e.ended); d.Abort != verdict.ConnectorTimeout {
		t.Errorf("%+v", d)
	}
}

func TestStalledResponse(t *testing.T) {
	addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
		readHead(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
		io.Copy(io.Discard, r)
	})
	e := &enforcer{ended: make(chan Dispatch, 1)}
	_, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: e, StreamIdle: 10 * time.Millisecond})
	c := connectTo(t, proxy)
	c.send(get + "\r\n")
	c.expect("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
	c.expectEOF()
	if d := receive(t, e.ended); d.Abort != verdict.ConnectorTimeout {
		t.Errorf("%+v", d)
	}
}

// TestClientLeaves: the upstream is told, before and within the response.
func TestClientLeaves(t *testing.T) {
	for name, response := range map[string]string{
		"before the head": "", "within the body": "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhel",
	} {
		for _, upload := range []bool{false, true} {
			t.Run(fmt.Sprint(name, upload), func(t *testing.T) {
				asked, gone := make(chan struct{}), make(chan struct{})
				addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
					readHead(r)
					io.WriteString(c, response)
					close(asked)
					io.Copy(io.Discard, r)
					close(gone)
				})
				e := &enforcer{ended: make(chan Dispatch, 1)}
				_, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: e})
				c := connectTo(t, proxy)
				if upload {
					c.send(post + "Content-Length: 500\r\n\r\nhello")
				} else {
					c.send(get + "\r\n")
				}
				receive(t, asked)
				c.Close()
				receive(t, gone)
				if d := receive(t, e.ended); d.Abort != verdict.ConnectorFailure || d.Detail != "the client went away" {
					t.Errorf("%+v", d)
				}
			})
		}
	}
}

// TestPipelinedWhileWaiting: bytes that come during a slow response are the next
// request, not lost and not a departure.
func TestPipelinedWhileWaiting(t *testing.T) {
	asked, release := make(chan struct{}, 2), make(chan struct{})
	addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
		for {
			if _, err := readHead(r); err != nil {
				return
			}
			asked <- struct{}{}
			<-release
			if _, err := io.WriteString(c, ok); err != nil {
				return
			}
		}
	})
	s, proxy := start(t, Config{Dialer: dialTo(addr)})
	c := connectTo(t, proxy)
	c.send(get + "\r\n")
	receive(t, asked)
	untilWatched(t, s)
	c.send(get + "\r\n")
	release <- struct{}{}
	c.expect(ok)
	receive(t, asked)
	release <- struct{}{}
	c.expect(ok)
	close(release)
}

// untilWatched waits until the only connection has a watcher, by asking for its
// goroutine: there is no event for it.
func untilWatched(t *testing.T, s *Server) {
	t.Helper()
	buf := make([]byte, 1<<20)
	for range 1000 {
		if n := runtime.Stack(buf, true); bytes.Contains(buf[:n], []byte("proxy.(*client).wait")) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("no watcher")
}

// period is prime, so that the pattern does not repeat with any buffer size.
const period = 65521

var patternBytes = func() []byte {
	b := make([]byte, period)
	for i := range b {
		b[i] = byte(i * i >> 3)
	}
	return b
}()

// pattern is an endless reader.
type pattern struct{ at int }

func (p *pattern) Read(b []byte) (int, error) {
	n := copy(b, patternBytes[p.at:])
	p.at = (p.at + n) % period
	return n, nil
}

// checker compares what is written to it with a pattern.
type checker struct {
	p   pattern
	bad bool
	n   int64
}

func (c *checker) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	for rest := b; len(rest) > 0; {
		n := min(len(rest), period-c.p.at)
		c.bad = c.bad || !bytes.Equal(rest[:n], patternBytes[c.p.at:c.p.at+n])
		c.p.at, rest = (c.p.at+n)%period, rest[n:]
	}
	return len(b), nil
}

// TestLargeBodies sends and receives much more than the proxy may hold.
func TestLargeBodies(t *testing.T) {
	const size = 64 << 20
	for _, chunked := range []bool{false, true} {
		t.Run(fmt.Sprintf("chunked=%v", chunked), func(t *testing.T) {
			var up checker
			addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
				readHead(r)
				if chunked {
					copyChunks(&up, r)
					io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
					writeChunks(c, size)
				} else {
					io.CopyN(&up, r, size)
					fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
					io.CopyN(struct{ io.Writer }{c}, &pattern{}, size)
				}
			})
			e := &enforcer{ended: make(chan Dispatch, 1)}
			_, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: e})
			c := connectTo(t, proxy)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			peak := make(chan uint64, 1)
			stop := make(chan struct{})
			go watchHeap(stop, peak)
			var down checker
			if chunked {
				c.send(post + "Transfer-Encoding: chunked\r\n\r\n")
				writeChunks(c, size)
				readHead(c.r)
				copyChunks(&down, c.r)
			} else {
				c.send(post + fmt.Sprintf("Content-Length: %d\r\n\r\n", size))
				io.CopyN(struct{ io.Writer }{c}, &pattern{}, size)
				readHead(c.r)
				io.CopyN(&down, c.r, size)
			}
			close(stop)
			runtime.ReadMemStats(&after)
			if high := <-peak; high > before.HeapInuse+(24<<20) {
				t.Errorf("heap grew from %d to %d MiB", before.HeapInuse>>20, high>>20)
			}
			if up.n != size || up.bad || down.n != size || down.bad {
				t.Errorf("up %d (damaged: %v), down %d (damaged: %v)", up.n, up.bad, down.n, down.bad)
			}
			if d := receive(t, e.ended); d.RequestBytes != size || d.ResponseBytes != size || d.Abort != verdict.None {
				t.Errorf("%+v", d)
			}
		})
	}
}

func watchHeap(stop chan struct{}, peak chan uint64) {
	var high uint64
	for {
		select {
		case <-stop:
			peak <- high
			return
		case <-time.After(20 * time.Millisecond):
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			high = max(high, m.HeapInuse)
		}
	}
}

func writeChunks(w io.Writer, size int) {
	p, buf := &pattern{}, make([]byte, 100_000)
	for size > 0 {
		n, _ := p.Read(buf[:min(size, len(buf))])
		fmt.Fprintf(w, "%x\r\n", n)
		w.Write(buf[:n])
		if _, err := io.WriteString(w, "\r\n"); err != nil {
			return
		}
		size -= n
	}
	io.WriteString(w, "0\r\n\r\n")
}

func copyChunks(w io.Writer, r *bufio.Reader) {
	for {
		var n int64
		line, err := r.ReadString('\n')
		if _, serr := fmt.Sscanf(line, "%x", &n); err != nil || serr != nil {
			return
		}
		io.CopyN(w, r, n)
		r.ReadString('\n')
		if n == 0 {
			return
		}
	}
}

// TestSlowReaderStopsTheOrigin: what the client does not read stays at the
// origin, but for what sockets hold.
func TestSlowReaderStopsTheOrigin(t *testing.T) {
	for name, request := range map[string]string{
		"response": get + "\r\n", "tunnel": "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			written := make(chan int64, 1)
			addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
				if name == "response" {
					readHead(r)
					io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
				}
				var n int64
				buf := make([]byte, 64<<10)
				for {
					c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
					m, err := c.Write(buf)
					n += int64(m)
					if err != nil {
						break
					}
				}
				written <- n
			})
			_, proxy := start(t, Config{Dialer: dialTo(addr)})
			c := connectTo(t, proxy)
			c.send(request)
			if n := receive(t, written); n > 64<<20 {
				t.Errorf("the origin could send %d MiB that nobody reads", n>>20)
			}
			c.Close()
		})
	}
}

func TestRecheckCutsWhatIsNoLongerAllowed(t *testing.T) {
	addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) { io.Copy(c, r) })
	for name, wire := range map[string]string{
		"request": get + "\r\n", "tunnel": "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com\r\n\r\nx",
	} {
		t.Run(name, func(t *testing.T) {
			e := &enforcer{ended: make(chan Dispatch, 1)}
			asked := make(chan struct{}, 1)
			dial := dialFunc(func(ctx context.Context, h string, p uint16) (net.Conn, error) {
				asked <- struct{}{}
				if name == "request" { // an origin that never answers
					addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) { io.Copy(io.Discard, r) })
					return dialTo(addr).Dial(ctx, h, p)
				}
				return dialTo(addr).Dial(ctx, h, p)
			})
			s, proxy := start(t, Config{Dialer: dial, Enforcer: e})
			idle := connectTo(t, proxy)
			c := connectTo(t, proxy)
			c.send(wire)
			receive(t, asked)
			if name == "tunnel" {
				c.expect("HTTP/1.1 200 Connection Established\r\n\r\nx")
			} else {
				untilWatched(t, s)
			}
			keep := func(_ *intent.Call, _ verdict.Decision) verdict.Reason { return verdict.None }
			if n := s.Recheck(keep); n != 0 {
				t.Errorf("%d cut although allowed", n)
			}
			revoke := func(call *intent.Call, d verdict.Decision) verdict.Reason {
				if call.Host != "api.example.com" || d.EventID != "aevt_1" {
					t.Errorf("%+v %+v", call, d)
				}
				return verdict.CapabilityRevoked
			}
			if n := s.Recheck(revoke); n != 1 {
				t.Errorf("%d cut, want 1", n)
			}
			io.Copy(io.Discard, c.r) // ends
			if d := receive(t, e.ended); d.Abort != verdict.CapabilityRevoked {
				t.Errorf("%+v", d)
			}
			idle.send("X")
			idle.CloseWrite()
			if status, _, _ := idle.response(); !strings.Contains(status, " 403 ") { // was not cut
				t.Errorf("status %q", status)
			}
			idle.expectEOF()
		})
	}
}

// TestSlowAnswerToAnUpload: thinking longer than watchAfter is no timeout.
func TestSlowAnswerToAnUpload(t *testing.T) {
	addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
		readHead(r)
		io.ReadFull(r, make([]byte, 5))
		time.Sleep(3 * watchAfter)
		io.WriteString(c, ok)
	})
	_, proxy := start(t, Config{Dialer: dialTo(addr)})
	c := connectTo(t, proxy)
	c.send(post + "Content-Length: 5\r\n\r\n")
	c.send("hello")
	c.expect(ok)
}
