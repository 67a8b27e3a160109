package resolver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// maxReadErrors in a row end ServeUDP: the socket is of no more use.
const maxReadErrors = 100

// ServeUDP answers queries from pc until ctx is done, then closes pc, waits for
// refusals being audited and returns nil. It owns pc.
func (r *Resolver) ServeUDP(ctx context.Context, pc net.PacketConn) error {
	defer pc.Close()
	defer context.AfterFunc(ctx, func() { pc.Close() })()
	var refusals sync.WaitGroup
	defer refusals.Wait()
	sock := newPacketSocket(pc)
	buf, scratch := make([]byte, 4096), make([]byte, 0, 1024)
	for failures := 0; ; {
		n, from, err := sock.read(buf)
		if err != nil {
			if failures++; ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			} else if failures > maxReadErrors {
				return err
			}
			continue
		}
		failures = 0
		r.packet(ctx, sock, &refusals, buf[:n], from, scratch)
	}
}

// packet answers one datagram at once, or hands its refusal to a goroutine of
// its own: auditing may block, and must not hold up names that are allowed.
func (r *Resolver) packet(ctx context.Context, sock packetSocket, refusals *sync.WaitGroup, packet []byte, from sender, scratch []byte) {
	q, rcode, ok := parse(packet)
	if !ok {
		return
	}
	rep, refuse := reply{known: true, rcode: rcode}, false
	if rcode == dnsmessage.RCodeSuccess {
		rep, refuse = r.decide(&q)
	}
	if !refuse {
		r.send(sock, &q, rep, from, scratch)
		return
	}
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return
	}
	refusals.Go(func() {
		defer func() { <-r.slots }()
		r.send(sock, &q, r.refuse(ctx, &q, rep), from, make([]byte, 0, 512))
	})
}

func (r *Resolver) send(sock packetSocket, q *query, rep reply, to sender, buf []byte) {
	out, err := encode(buf, q, rep, r.cfg.TTL, q.maxUDP)
	if err != nil {
		r.cfg.Log.Error("resolver: answer not encoded", "err", err)
		return
	}
	// A failed write is a lost datagram; the sender asks again.
	_ = sock.write(out, to)
}

// sender is where a datagram came from, without allocating for a UDP socket.
type sender struct {
	addrPort netip.AddrPort
	addr     net.Addr
}

type packetSocket struct {
	any net.PacketConn
	udp *net.UDPConn // any, if it is one
}

func newPacketSocket(pc net.PacketConn) packetSocket {
	udp, _ := pc.(*net.UDPConn)
	return packetSocket{pc, udp}
}

func (s packetSocket) read(buf []byte) (n int, from sender, err error) {
	if s.udp != nil {
		n, from.addrPort, err = s.udp.ReadFromUDPAddrPort(buf)
		return n, from, err
	}
	n, from.addr, err = s.any.ReadFrom(buf)
	return n, from, err
}

func (s packetSocket) write(buf []byte, to sender) (err error) {
	if s.udp != nil {
		_, err = s.udp.WriteToUDPAddrPort(buf, to.addrPort)
		return err
	}
	_, err = s.any.WriteTo(buf, to.addr)
	return err
}
