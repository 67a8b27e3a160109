//go:build linux

// Package relay carries a sandbox's connections and DNS questions to a Sidecar
// that the run has attached to, byte for byte. It reads none of them.
package relay

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"firma/internal/attach"
	"firma/internal/control"
	"firma/internal/original"
)

// The bounds of what is carried at once.
const (
	maxConns     = 4096 // connections of the agent; further ones wait in the kernel's backlog
	maxQuestions = 64   // DNS questions over UDP; further ones wait in the socket's buffer
	answerTime   = 5 * time.Second
)

// Opener makes the run's connections to its Sidecar; *attach.Run is one.
type Opener interface {
	Open(ctx context.Context, k attach.Kind) (net.Conn, error)
}

// Relay serves one sandbox. Serve is called once; Close ends everything.
type Relay struct {
	to   Opener
	log  *slog.Logger
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// New returns a relay to the Sidecar that to leads to.
func New(to Opener, log *slog.Logger) *Relay {
	r := &Relay{to: to, log: log}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// kinds are the listening sockets that are carried, and as what.
var kinds = map[control.Socket]attach.Kind{
	control.SocketProxy: attach.Relay, control.SocketDNSTCP: attach.DNS,
	control.SocketCapture: attach.Capture, control.SocketCapture6: attach.Capture,
}

// Serve starts carrying from the sandbox's sockets, bound and listening. The files
// stay the caller's. It returns at once.
func (r *Relay) Serve(socks control.Sockets) error {
	dns, err := net.FilePacketConn(socks[control.SocketDNS])
	if err != nil {
		return err
	}
	listeners := map[net.Listener]attach.Kind{}
	for name, f := range socks {
		k, listens := kinds[name]
		if !listens {
			continue
		}
		ln, err := net.FileListener(f)
		if err != nil {
			for ln := range listeners {
				ln.Close()
			}
			return errors.Join(err, dns.Close())
		}
		listeners[ln] = k
	}
	for ln, k := range listeners {
		r.wg.Go(func() { r.listen(ln, k) })
	}
	r.wg.Go(func() { r.answer(dns) })
	return nil
}

// Close cuts every connection and waits until all are gone.
func (r *Relay) Close() {
	r.stop()
	r.wg.Wait()
}

func (r *Relay) listen(ln net.Listener, k attach.Kind) {
	defer context.AfterFunc(r.ctx, func() { ln.Close() })()
	defer ln.Close()
	slots := make(chan struct{}, maxConns)
	for {
		slots <- struct{}{}
		conn, err := ln.Accept()
		switch {
		case err == nil:
			r.wg.Go(func() {
				defer func() { <-slots }()
				r.carry(conn, k)
			})
			continue
		case r.ctx.Err() != nil:
			return
		}
		<-slots
		r.log.Warn("accept failed, trying again", "err", err)
		if !r.pause(50 * time.Millisecond) {
			return
		}
	}
}

func (r *Relay) pause(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-r.ctx.Done():
		return false
	}
}

// carry joins conn with a connection of its own to the Sidecar. Without one the
// agent's is closed: it goes nowhere else.
func (r *Relay) carry(conn net.Conn, k attach.Kind) {
	defer conn.Close()
	up, err := r.open(conn, k)
	if err != nil {
		if r.ctx.Err() == nil {
			r.log.Warn("a connection of the agent was cut: the Sidecar took none", "err", err)
		}
		return
	}
	defer up.Close()
	defer context.AfterFunc(r.ctx, func() {
		conn.Close()
		up.Close()
	})()
	var back sync.WaitGroup
	back.Go(func() { pass(conn, up) })
	pass(up, conn)
	back.Wait()
}

// open makes the connection to the Sidecar, which is told where a captured one was
// meant to go: only here can the kernel be asked. One that was not redirected says
// so by naming no address, for the Sidecar to refuse and record.
func (r *Relay) open(conn net.Conn, k attach.Kind) (net.Conn, error) {
	up, err := r.to.Open(r.ctx, k)
	if err != nil || k != attach.Capture {
		return up, err
	}
	to := netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
	if c, ok := conn.(*net.TCPConn); ok {
		local, _ := c.LocalAddr().(*net.TCPAddr)
		if d, err := original.Destination(c, local.IP.To4() == nil); err == nil {
			to = d
		}
	}
	_ = up.SetWriteDeadline(time.Now().Add(attach.HandshakeTimeout))
	if err := attach.WriteDestination(up, to); err != nil {
		up.Close()
		return nil, err
	}
	return up, up.SetWriteDeadline(time.Time{})
}

// pass moves src to dst, in the kernel where it can (splice(2), by the standard
// library), and passes the end on. A failure ends both directions.
func pass(dst, src net.Conn) {
	_, err := io.Copy(dst, src)
	half, ok := dst.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		dst.Close()
		src.Close()
	}
}

// answer carries each question over a connection of its own; one that gets no
// answer in time gets none, like any lost datagram.
func (r *Relay) answer(dns net.PacketConn) {
	defer context.AfterFunc(r.ctx, func() { dns.Close() })()
	defer dns.Close()
	slots := make(chan struct{}, maxQuestions)
	for {
		slots <- struct{}{}
		q := make([]byte, 4096)
		n, from, err := dns.ReadFrom(q)
		if err != nil {
			if r.ctx.Err() != nil {
				return
			}
			<-slots
			continue // of an earlier answer: its reader is gone
		}
		r.wg.Go(func() {
			defer func() { <-slots }()
			if a, err := r.ask(q[:n]); err == nil {
				_, _ = dns.WriteTo(a, from)
			}
		})
	}
}

func (r *Relay) ask(q []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(r.ctx, answerTime)
	defer cancel()
	conn, err := r.to.Open(ctx, attach.DNS)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...)); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	a := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err = io.ReadFull(conn, a)
	return a, err
}
