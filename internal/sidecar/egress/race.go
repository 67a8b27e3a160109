package egress

import (
	"context"
	"net"
	"net/netip"
	"time"

	"firma/internal/sidecar/sock"
)

// stagger is the head start of one address over the next (RFC 8305 section 5).
const stagger = 250 * time.Millisecond

// interleave orders addresses IPv6, IPv4, IPv6, … keeping each family's order
// (RFC 8305 section 4).
func interleave(in []netip.AddrPort) []netip.AddrPort {
	var v6, v4 []netip.AddrPort
	for _, a := range in {
		if a.Addr().Is4() {
			v4 = append(v4, a)
		} else {
			v6 = append(v6, a)
		}
	}
	out := in[:0]
	for len(v6) > 0 || len(v4) > 0 {
		if len(v6) > 0 {
			out, v6 = append(out, v6[0]), v6[1:]
		}
		if len(v4) > 0 {
			out, v4 = append(out, v4[0]), v4[1:]
		}
	}
	return out
}

func (d *Dialer) connect(ctx context.Context, targets []netip.AddrPort) (net.Conn, error) {
	if len(targets) == 1 {
		return d.connectOne(ctx, targets[0])
	}
	return race(ctx, targets, d.connectOne)
}

func (d *Dialer) connectOne(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	if to.Addr().Zone() != "" { // only of the network's own proxy
		var d net.Dialer
		return d.DialContext(ctx, "tcp", to.String())
	}
	return sock.Dial(ctx, d.timeout, to)
}

type attempt struct {
	conn net.Conn
	err  error
}

// race starts one attempt after another, the next when the last failed or the
// stagger passed, and keeps the first connection. Losers are closed. The error
// is the first attempt's.
func race(ctx context.Context, targets []netip.AddrPort, dial func(context.Context, netip.AddrPort) (net.Conn, error)) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results, done := make(chan attempt), make(chan struct{})
	defer close(done)
	var first error
	timer := time.NewTimer(0)
	defer timer.Stop()
	for next, running := 0, 0; next < len(targets) || running > 0; {
		var start <-chan time.Time
		if next < len(targets) {
			start = timer.C
		}
		select {
		case <-start:
			go try(ctx, targets[next], dial, results, done)
			next, running = next+1, running+1
			timer.Reset(stagger)
		case a := <-results:
			if a.err == nil {
				return a.conn, nil
			}
			if running--; first == nil {
				first = a.err
			}
			timer.Reset(0)
		}
	}
	return nil, first
}

func try(ctx context.Context, to netip.AddrPort, dial func(context.Context, netip.AddrPort) (net.Conn, error), results chan<- attempt, done <-chan struct{}) {
	conn, err := dial(ctx, to)
	select {
	case results <- attempt{conn, err}:
	case <-done:
		if err == nil {
			conn.Close()
		}
	}
}
