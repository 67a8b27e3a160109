package sidecar

import (
	"io"
	"net"
	"testing"
	"time"

	"firma/internal/control"
	"firma/internal/sidecar/sock"
)

// TestSilentClients: who says nothing is accepted all the same, and so is who leaves
// without a word.
func TestSilentClients(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			ln, err := bind(control.Endpoint{Network: "tcp", Address: at})
			if err != nil {
				t.Fatal(err)
			}
			ln = sock.Listen(ln)
			defer ln.Close()
			dial := func() *net.TCPConn {
				c, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.Close() })
				c.SetDeadline(time.Now().Add(20 * time.Second))
				return c.(*net.TCPConn)
			}
			accept := func() net.Conn {
				c, err := ln.Accept()
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.Close() })
				c.SetDeadline(time.Now().Add(20 * time.Second))
				return c
			}
			stop := time.AfterFunc(20*time.Second, func() { ln.Close() }) // a hang is a failure
			defer stop.Stop()

			silent := dial()
			io.WriteString(accept(), "welcome")
			b := make([]byte, 7)
			if _, err := io.ReadFull(silent, b); err != nil || string(b) != "welcome" {
				t.Errorf("a silent client reads %q, %v", b, err)
			}
			for name, leave := range map[string]func(*net.TCPConn) error{"closes": (*net.TCPConn).Close, "ends": (*net.TCPConn).CloseWrite} {
				if err := leave(dial()); err != nil {
					t.Fatal(err)
				}
				if n, err := accept().Read(b); n != 0 || err != io.EOF {
					t.Errorf("of a client that %s at once, Read returns %d, %v", name, n, err)
				}
			}
		})
	}
}
