//go:build !linux

package sock

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// Listen returns ln.
func Listen(ln net.Listener) net.Listener { return ln }

var dialer = net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
	Enable: true, Idle: keepIdle * time.Second, Interval: keepBetween * time.Second, Count: keepTries,
}}

// Dial connects to an address over TCP, until ctx is done and for no longer than
// within, if that is not 0.
func Dial(ctx context.Context, within time.Duration, to netip.AddrPort) (net.Conn, error) {
	dialer := dialer
	dialer.Timeout = within
	return dialer.DialContext(ctx, "tcp", to.String())
}
