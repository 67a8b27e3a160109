package sock_test

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	"golang.org/x/net/nettest"

	"firma/internal/sidecar/sock"
)

// listen returns a listener of the kind that is tested, on loopback or in a directory.
func listen(t testing.TB, network string) net.Listener {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	ln = sock.Listen(ln)
	t.Cleanup(func() { ln.Close() })
	return ln
}

// both returns an accepted connection and the one that was dialled.
func both(t testing.TB, network string) (near, far net.Conn) {
	t.Helper()
	ln := listen(t, network)
	var err error
	if network == "unix" {
		far, err = net.Dial("unix", ln.Addr().String())
	} else {
		far, err = sock.Dial(context.Background(), 0, ln.Addr().(*net.TCPAddr).AddrPort())
	}
	if err != nil {
		t.Fatal(err)
	}
	if near, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

// What package net's connections promise, these keep.
func TestConn(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				near, far := both(t, network)
				return near, far, func() { near.Close(); far.Close() }, nil
			})
		})
	}
}
