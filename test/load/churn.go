package load

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"sort"
	"strings"
	"sync"
	"time"
)

// Churn is everything that agents do, at a pace that leaves the machine usable.
type Churn struct {
	Path   Path
	Inside Path   // to what is intercepted; none without a Tun
	Name   string // of its server in TLS
	Names  bool   // look names up, too; needs the sandbox's resolver
	Hello  []byte
	mu     sync.Mutex
	counts map[string]int
	failed error
}

// Run does all of it until ctx ends and returns the first thing that went wrong.
func (c *Churn) Run(ctx context.Context) error {
	c.counts = map[string]int{}
	jobs := map[string]func() error{
		"keep-alive": func() error { _, err := c.Path.KeepAlive(4, 50*time.Millisecond, false); return err },
		"tunnel":     func() error { _, err := c.Path.Tunnels(c.Hello, 4, 50*time.Millisecond); return err },
		"bulk":       func() error { _, err := c.Path.Pull(c.Hello, 8<<20); return err },
		"deny":       c.deny,
		"abort":      c.abort,
		"slow":       c.slow,
		"websocket":  c.webSocket,
	}
	if c.Inside.Tun != "" {
		jobs["inside h1"] = func() error { _, err := c.Inside.Inside(c.Name, 2, 50*time.Millisecond); return err }
		jobs["inside h2"] = func() error { _, err := c.Inside.Inside2(c.Name, 8, 50*time.Millisecond); return err }
	}
	if c.Names {
		jobs["name"] = func() error { return lookUp(ctx, c.Path.Host) }
	}
	var wg sync.WaitGroup
	for name, job := range jobs {
		wg.Go(func() {
			for ctx.Err() == nil {
				err := job()
				c.count(name, err)
				select {
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
			}
		})
	}
	wg.Wait()
	return c.failed
}

func (c *Churn) count(name string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[name]++
	if err != nil {
		c.counts[name+" failed"]++
		if c.failed == nil {
			c.failed = fmt.Errorf("%s: %w", name, err)
		}
	}
}

// String says how often each was done.
func (c *Churn) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for name, n := range c.counts {
		all = append(all, fmt.Sprintf("%s %d", name, n))
	}
	sort.Strings(all)
	return strings.Join(all, ", ")
}

// deny asks for what no rule covers.
func (c *Churn) deny() error {
	p := c.Path
	p.Host, p.Tun = "refused.test", "refused.test:443"
	if err := wantStatus(p, p.Request("/"), 403); err != nil {
		return err
	}
	return wantStatus(p, []byte("CONNECT "+p.Tun+" HTTP/1.1\r\nHost: "+p.Tun+"\r\n"+p.auth()+"\r\n"), 403)
}

func wantStatus(p Path, req []byte, status int) error {
	conn, err := p.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write(req); err != nil {
		return err
	}
	var r response
	if err := r.read(bufio.NewReader(conn), true); err != nil {
		return err
	}
	if r.status != status {
		return fmt.Errorf("status %d, not %d", r.status, status)
	}
	return nil
}

// abort leaves in the middle: of a head, of an exchange, of a tunnel.
func (c *Churn) abort() error {
	req := c.Path.Request("/v1/models")
	for _, part := range [][]byte{req[:len(req)/2], req} {
		conn, err := c.Path.dial()
		if err != nil {
			return err
		}
		if _, err := conn.Write(part); err != nil {
			return err
		}
		reset(conn)
	}
	conn, err := c.Path.Ping(c.Hello)
	if err != nil {
		return err
	}
	reset(conn)
	return nil
}

func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	c.Close()
}

// slow sends a request in small pieces.
func (c *Churn) slow() error {
	conn, err := c.Path.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	for rest := c.Path.Request("/v1/slow"); len(rest) > 0; {
		n := min(len(rest), 5)
		if _, err := conn.Write(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
		time.Sleep(2 * time.Millisecond)
	}
	var r response
	return r.read(bufio.NewReader(conn), false)
}

const wsKey = "dGhlIHNhbXBsZSBub25jZQ=="

// webSocket has one message echoed.
func (c *Churn) webSocket() error {
	conn, err := c.Path.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	target := "/ws"
	if c.Path.Proxy != "" {
		target = "http://" + c.Path.Host + target
	}
	_, err = io.WriteString(conn, "GET "+target+" HTTP/1.1\r\nHost: "+c.Path.Host+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "+wsKey+"\r\n"+c.Path.auth()+"\r\n")
	if err != nil {
		return err
	}
	in := bufio.NewReader(conn)
	var r response
	if err := r.read(in, true); err != nil {
		return err
	}
	if r.status != 101 {
		return fmt.Errorf("status %d, not 101", r.status)
	}
	// A text message of two bytes, masked with zeros; it comes back unmasked.
	if _, err := conn.Write([]byte{0x81, 0x82, 0, 0, 0, 0, 'h', 'i'}); err != nil {
		return err
	}
	var got [4]byte
	if _, err := io.ReadFull(in, got[:]); err != nil {
		return err
	}
	if string(got[2:]) != "hi" {
		return errors.New("the message changed")
	}
	return nil
}

// echoWebSocket is the origin's side of webSocket.
func echoWebSocket(c net.Conn, in *bufio.Reader) {
	sum := sha1.Sum([]byte(wsKey + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	_, err := io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n")
	if err != nil {
		return
	}
	var frame [8]byte
	if _, err := io.ReadFull(in, frame[:]); err != nil {
		return
	}
	for i := range 2 {
		frame[6+i] ^= frame[2+i]
	}
	if _, err := c.Write([]byte{0x81, 2, frame[6], frame[7]}); err == nil {
		_, _ = in.ReadByte() // until the client leaves
	}
}

func lookUp(ctx context.Context, host string) error {
	r := net.Resolver{PreferGo: true}
	_, err := r.LookupHost(ctx, host)
	if ctx.Err() != nil {
		return nil
	}
	return err
}
