//go:build unix

package sidecar

import (
	"context"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"firma/internal/attach"
	"firma/internal/sidecar/capture"
	"firma/internal/sidecar/intake"
)

// Connections that were meant for somebody else are of the session's part, too.
func TestCapturedAreShared(t *testing.T) {
	const total, part = 8, 4
	a := startAlone(t, func(o *Options) { o.Start.Limits.MaxTotal = total })
	r := a.mustRun("one")
	answers := resolve(t, r, "plain.test.").Answers
	if len(answers) != 1 {
		t.Fatal(answers)
	}
	to := netip.AddrPortFrom(netip.AddrFrom4(answers[0].Body.(*dnsmessage.AResource).A), 80)
	closed := make(chan struct{}, part+1)
	for range part + 1 {
		conn, err := r.Open(context.Background(), attach.Capture)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if err := attach.WriteDestination(conn, to); err != nil {
			t.Fatal(err)
		}
		go func() {
			if _, err := conn.Read(make([]byte, 1)); err == io.EOF { // nobody says anything
				closed <- struct{}{}
			}
		}()
	}
	select {
	case <-closed:
	case <-time.After(20 * time.Second):
		t.Errorf("a session has %d of %d connections", part+1, total)
	}
}

// What the launcher says of a connection is not kept when the connection is not.
func TestCaptureForgets(t *testing.T) {
	g := &guest{session: &session{destinations: capture.New(capture.Config{
		Names:     func(netip.Addr) (string, bool) { return "a.test", true },
		Synthetic: []netip.Prefix{netip.MustParsePrefix("198.18.0.0/15")},
	})}, captures: intake.NewQueue()}
	g.captures.Close()
	near, far := net.Pipe()
	go attach.WriteDestination(far, netip.MustParseAddrPort("198.18.0.1:80"))
	g.capture(near)
	if host, _, err := g.destinations.Of(near); err == nil {
		t.Errorf("%s is still known", host)
	}
}
