// Package load is the traffic of the benchmarks and the soak: an origin and
// clients that cost little themselves, on loopback, bounded in count and time.
package load

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Reply is what the origin answers to every HTTP request.
const Reply = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"hello\":\"you\"}"

// Commands of a tunnel, after its ClientHello.
const (
	ping = 'p' // answered by pong
	send = 's' // and 8 bytes, big-endian: that many bytes are sent back
	take = 't' // likewise: that many bytes follow, then pong
	pong = "ok"
)

const block = 256 << 10

// Origin answers HTTP requests, and tunnels that begin like TLS, on one port.
type Origin struct {
	ln    net.Listener
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

// NewOrigin listens on a free port of 127.0.0.1.
func NewOrigin() (*Origin, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := &Origin{ln: ln, conns: map[net.Conn]struct{}{}}
	o.wg.Go(o.accept)
	return o, nil
}

// Addr is its address and port.
func (o *Origin) Addr() string { return o.ln.Addr().String() }

// Close cuts everything and waits.
func (o *Origin) Close() {
	o.ln.Close()
	o.mu.Lock()
	for c := range o.conns {
		c.Close()
	}
	o.mu.Unlock()
	o.wg.Wait()
}

func (o *Origin) accept() {
	for {
		c, err := o.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors: the client that waits will say so
			time.Sleep(10 * time.Millisecond)
			continue
		}
		o.mu.Lock()
		o.conns[c] = struct{}{}
		o.mu.Unlock()
		o.wg.Go(func() {
			serve(c)
			c.Close()
			o.mu.Lock()
			delete(o.conns, c)
			o.mu.Unlock()
		})
	}
}

func serve(c net.Conn) {
	in := bufio.NewReaderSize(c, 2048)
	first, err := in.Peek(1)
	if err != nil {
		return
	}
	if first[0] == recordHandshake {
		if skipRecord(in) == nil {
			serveTunnel(c, in)
		}
		return
	}
	for {
		upgrade, err := skipHead(in)
		if err != nil {
			return
		}
		if upgrade {
			echoWebSocket(c, in)
			return
		}
		if _, err := io.WriteString(c, Reply); err != nil {
			return
		}
	}
}

const recordHandshake = 22

func skipRecord(in *bufio.Reader) error {
	var head [5]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return err
	}
	_, err := in.Discard(int(binary.BigEndian.Uint16(head[3:])))
	return err
}

// skipHead reads a request head and tells whether it asks for a WebSocket.
func skipHead(in *bufio.Reader) (upgrade bool, err error) {
	for {
		line, err := in.ReadSlice('\n')
		if err != nil || len(line) == 2 {
			return upgrade, err
		}
		upgrade = upgrade || len(line) > 8 && bytes.EqualFold(line[:8], []byte("upgrade:"))
	}
}

func serveTunnel(c net.Conn, in *bufio.Reader) {
	for {
		cmd, err := in.ReadByte()
		if err != nil {
			return
		}
		switch cmd {
		case ping:
			_, err = io.WriteString(c, pong)
		case send:
			err = sendBytes(c, in)
		case take:
			err = takeBytes(c, in)
		default:
			return
		}
		if err != nil {
			return
		}
	}
}

func size(in io.Reader) (int64, error) {
	var n [8]byte
	_, err := io.ReadFull(in, n[:])
	return int64(binary.BigEndian.Uint64(n[:])), err
}

func sendBytes(c net.Conn, in io.Reader) error {
	left, err := size(in)
	buf := make([]byte, block)
	for ; left > 0 && err == nil; left -= int64(len(buf)) {
		if left < int64(len(buf)) {
			buf = buf[:left]
		}
		_, err = c.Write(buf)
	}
	return err
}

func takeBytes(c net.Conn, in *bufio.Reader) error {
	n, err := size(in)
	if err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, in, n); err != nil {
		return err
	}
	_, err = io.WriteString(c, pong)
	return err
}
