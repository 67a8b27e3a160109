package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	maxTCPConns = 64               // further ones wait in the kernel's backlog
	tcpIdle     = 10 * time.Second // for one query to arrive or one answer to leave
)

// ServeTCP answers queries on ln's connections until ctx is done, then closes
// all of them, waits and returns nil. It owns ln.
func (r *Resolver) ServeTCP(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer ln.Close()
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	slots := make(chan struct{}, maxTCPConns)
	var conns sync.WaitGroup
	defer conns.Wait()
	defer cancel() // before the wait
	for {
		slots <- struct{}{}
		conn, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			if !retryAccept(ctx, err) {
				return err
			}
			<-slots
			continue
		}
		conns.Go(func() {
			defer func() { <-slots }()
			r.serveConn(ctx, conn)
		})
	}
}

// retryAccept waits out a shortage of descriptors or memory.
func retryAccept(ctx context.Context, err error) bool {
	var ne net.Error
	if !errors.As(err, &ne) {
		return false
	}
	t := time.NewTimer(50 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return true
	}
}

func (r *Resolver) serveConn(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	buf, out := make([]byte, 4096), make([]byte, 2, 1024)
	for {
		conn.SetDeadline(time.Now().Add(tcpIdle))
		packet, err := readPrefixed(conn, buf)
		if err != nil {
			return
		}
		answer, err := r.answerTCP(ctx, packet, out)
		if err != nil || answer == nil {
			return
		}
		binary.BigEndian.PutUint16(answer, uint16(len(answer)-2))
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

// readPrefixed reads one message of RFC 1035 section 4.2.2. A query longer than
// buf is no query of ours and ends the connection.
func readPrefixed(conn io.Reader, buf []byte) ([]byte, error) {
	if _, err := io.ReadFull(conn, buf[:2]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(buf))
	if n < headerLen || n > len(buf) {
		return nil, io.ErrUnexpectedEOF
	}
	_, err := io.ReadFull(conn, buf[:n])
	return buf[:n], err
}

// answerTCP appends the answer to prefix; nil if the packet deserves none.
func (r *Resolver) answerTCP(ctx context.Context, packet, prefix []byte) ([]byte, error) {
	q, rcode, ok := parse(packet)
	if !ok {
		return nil, nil
	}
	rep := reply{known: true, rcode: rcode}
	if rcode == dnsmessage.RCodeSuccess {
		refuse := false
		if rep, refuse = r.decide(&q); refuse {
			rep = r.refuse(ctx, &q, rep)
		}
	}
	return encode(prefix, &q, rep, r.cfg.TTL, 65535)
}
