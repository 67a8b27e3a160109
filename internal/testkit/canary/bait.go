// Package canary is the bait of the escape suite: sockets and files on the host
// that answer whoever reaches them and remember it. A blocked attempt is proved by
// the bait's silence, not by the attacker's error text; an attempt from outside
// first proves that the bait is alive.
package canary

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Hit is one arrival: a connection (no Payload yet) or a datagram.
type Hit struct {
	Time    time.Time
	Bait    string // the bait's name
	Peer    string
	Payload string // what arrived first, at most 4 KiB
}

// Log collects the hits of many baits. The zero value is ready; safe for
// concurrent use.
type Log struct {
	mu   sync.Mutex
	hits []Hit
}

func (l *Log) add(h Hit) {
	h.Time = time.Now()
	l.mu.Lock()
	l.hits = append(l.hits, h)
	l.mu.Unlock()
}

// Hits returns a copy of what arrived.
func (l *Log) Hits() []Hit {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Hit(nil), l.hits...)
}

// Reset forgets what arrived.
func (l *Log) Reset() {
	l.mu.Lock()
	l.hits = nil
	l.mu.Unlock()
}

// Yard is a set of baits with one log. Close it to take all of them away.
type Yard struct {
	Log
	mu     sync.Mutex
	closed []io.Closer
}

// Close takes the baits away; socket files are removed.
func (y *Yard) Close() error {
	y.mu.Lock()
	defer y.mu.Unlock()
	var err error
	for _, c := range y.closed {
		err = errors.Join(err, c.Close())
	}
	y.closed = nil
	return err
}

func (y *Yard) keep(c io.Closer) {
	y.mu.Lock()
	y.closed = append(y.closed, c)
	y.mu.Unlock()
}

// TCP listens on an address ("127.0.0.1:0", "[::]:0") and returns the bound one.
// What it answers depends on what it is asked: HTTP to an HTTP request, an echo to
// anything else.
func (y *Yard) TCP(name, addr string) (*net.TCPAddr, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("canary %s: %w", name, err)
	}
	y.serve(name, ln)
	return ln.Addr().(*net.TCPAddr), nil
}

// Unix listens on a socket path, or on an abstract name that starts with "@".
// Anyone may connect.
func (y *Yard) Unix(name, path string) error {
	ln, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("canary %s: %w", name, err)
	}
	if path[0] != '@' {
		if err := os.Chmod(path, 0o666); err != nil {
			return errors.Join(err, ln.Close())
		}
	}
	y.serve(name, ln)
	return nil
}

// UDP answers each datagram with an echo and returns the bound address.
func (y *Yard) UDP(name, addr string) (*net.UDPAddr, error) {
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("canary %s: %w", name, err)
	}
	y.keep(c)
	go y.datagrams(name, c, echo)
	return c.LocalAddr().(*net.UDPAddr), nil
}

// UnixDatagram is UDP on a socket path.
func (y *Yard) UnixDatagram(name, path string) error {
	c, err := net.ListenPacket("unixgram", path)
	if err != nil {
		return fmt.Errorf("canary %s: %w", name, err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		return errors.Join(err, c.Close())
	}
	y.keep(c)
	y.keep(unlink(path))
	go y.datagrams(name, c, echo)
	return nil
}

type unlink string

func (u unlink) Close() error { return os.Remove(string(u)) }

func (y *Yard) serve(name string, ln net.Listener) {
	y.keep(ln)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			y.add(Hit{Bait: name, Peer: c.RemoteAddr().String()})
			go y.converse(name, c)
		}
	}()
}

func (y *Yard) converse(name string, c net.Conn) {
	defer c.Close()
	buf := make([]byte, 4096)
	for {
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		n, err := c.Read(buf)
		if n == 0 && err != nil {
			return
		}
		y.add(Hit{Bait: name, Peer: c.RemoteAddr().String(), Payload: string(buf[:n])})
		if _, err := c.Write(reply(buf[:n])); err != nil {
			return
		}
	}
}

func reply(p []byte) []byte {
	line, _, _ := bytes.Cut(p, []byte("\r\n"))
	if bytes.Contains(line, []byte(" HTTP/1.")) {
		const body = "canary\n"
		return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: keep-alive\r\n\r\n%s", len(body), body)
	}
	return p
}

func echo(p []byte) []byte { return p }

func (y *Yard) datagrams(name string, c net.PacketConn, answer func([]byte) []byte) {
	buf := make([]byte, 4096)
	for {
		n, peer, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		from := ""
		if peer != nil {
			from = peer.String()
		}
		y.add(Hit{Bait: name, Peer: from, Payload: string(buf[:n])})
		if out := answer(buf[:n]); out != nil && peer != nil && from != "" {
			_, _ = c.WriteTo(out, peer)
		}
	}
}
