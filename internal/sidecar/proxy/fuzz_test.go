package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"firma/internal/gitpush"
	"firma/internal/intent"
	"firma/internal/sidecar/allowance"
	"firma/internal/verdict"
)

// witness is an origin that reads requests with net/http, as an independent
// parser, and notes what it was asked.
type witness struct {
	ln   net.Listener
	wg   sync.WaitGroup
	mu   sync.Mutex
	seen []string
}

func newWitness(t testing.TB) *witness {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{ln: ln}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go w.serve(c)
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return w
}

// Dial implements Dialer. What has been accepted ends wg by itself, so connecting is
// not given up half-way.
func (w *witness) Dial(context.Context, string, uint16) (net.Conn, error) {
	w.wg.Add(1)
	c, err := net.Dial("tcp", w.ln.Addr().String())
	if err != nil {
		w.wg.Done()
	}
	return c, err
}

func (w *witness) serve(c net.Conn) {
	defer w.wg.Done()
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			if err != io.EOF && err != io.ErrUnexpectedEOF {
				w.note("garbage: " + err.Error())
			}
			return
		}
		if req.Header.Get("Expect") != "" {
			io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		w.note(fmt.Sprintf("%s %s %s", req.Method, req.Host, req.RequestURI))
		for name := range req.Header {
			if strings.HasPrefix(name, "X-Firma-") || strings.HasPrefix(name, "Proxy-") || name == "Http2-Settings" {
				w.note("forwarded " + name)
			}
		}
		body, err := io.ReadAll(req.Body)
		if updates, done, _ := gitpush.Parse(body); done && strings.HasSuffix(req.URL.Path, "/git-receive-pack") && req.Method == "POST" {
			w.note(fmt.Sprintf("push %+v", updates))
		}
		if err != nil {
			return
		}
		if _, err := io.WriteString(c, ok); err != nil {
			return
		}
	}
}

func (w *witness) note(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, s)
}

// FuzzJudgedIsSent: whatever the agent writes, an independent parser upstream
// sees requests that were allowed, in that form, and no others.
func FuzzJudgedIsSent(f *testing.F) {
	for _, wire := range malformedWire {
		f.Add([]byte(wire + get + "\r\n"))
	}
	f.Add([]byte(get + "\r\n" + post + "Content-Length: 5\r\n\r\nhello" + get + "\r\n"))
	f.Add([]byte(post + "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n" + get + "\r\n"))
	f.Add([]byte(post + "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"))
	f.Add([]byte(strings.Replace(get, "/x", "/deny", 1) + "Content-Length: 70\r\n\r\n" + get + "\r\n" + get + "\r\n"))
	f.Add([]byte(get + "Connection: x-firma-a, upgrade\r\nUpgrade: h2c\r\nX-Firma-A: 1\r\nProxy-X: 2\r\n\r\n"))
	f.Add([]byte(get + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n"))
	commands := "0064" + strings.Repeat("1", 40) + " " + strings.Repeat("0", 40) + " refs/tags/v1\x00\n0000PACK"
	push := strings.Replace(post, "/x", "/o/r.git/git-receive-pack", 1)
	f.Add([]byte(push + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(commands), commands) + get + "\r\n"))
	f.Add([]byte(push + fmt.Sprintf("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", commands[:16], len(commands)-16, commands[16:])))
	w := newWitness(f)
	client, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { client.Close() })
	f.Fuzz(func(t *testing.T, wire []byte) {
		var allowed []string
		e := &enforcer{decide: func(c *intent.Call) verdict.Decision {
			if c.Method == "CONNECT" || strings.Contains(c.Path, "deny") {
				return verdict.Decision{Outcome: verdict.Deny}
			}
			allowed = append(allowed, fmt.Sprintf("%s %s %s", c.Method, c.HostPort(), c.Target()))
			if c.Push != nil {
				allowed = append(allowed, fmt.Sprintf("push %+v", c.Push.Updates))
			}
			return verdict.Decision{Outcome: verdict.Allow}
		}}
		mine := allowance.New(1 << 20)
		s, err := New(Config{Enforcer: e, Dialer: w, Memory: mine})
		if err != nil {
			t.Fatal(err)
		}
		near, err := net.Dial("tcp", client.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer near.Close()
		far, err := client.Accept()
		if err != nil {
			t.Fatal(err)
		}
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
