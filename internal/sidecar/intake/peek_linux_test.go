package intake

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"firma/internal/attach"
	"firma/internal/sidecar/sock"
)

// FuzzBegins: whether a connection begins with a text is told as soon as it can be,
// whatever pieces it comes in, and nothing of it is read.
func FuzzBegins(f *testing.F) {
	f.Add([]byte(attach.Magic+"A 00"), byte(3))
	f.Add([]byte(attach.Magic), byte(0))
	f.Add([]byte(attach.Magic[:5]), byte(1))
	f.Add([]byte("FIRMA/2 "), byte(7))
	f.Add([]byte("GET / HTTP/1.1\r\n"), byte(2))
	f.Add([]byte(nil), byte(0))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	ln = sock.Listen(ln) // as the Sidecar does
	f.Cleanup(func() { ln.Close() })
	f.Fuzz(func(t *testing.T, data []byte, at byte) {
		if len(data) > 4<<10 {
			return // what no socket takes at once
		}
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second)) // a hang is a failure, not a wait
		go func() {
			cut := min(int(at), len(data))
			client.Write(data[:cut])
			client.Write(data[cut:])
			client.(*net.TCPConn).CloseWrite()
		}()
		same, err := begins(conn, attach.Magic)
		short := len(data) < len(attach.Magic) && strings.HasPrefix(attach.Magic, string(data))
		if same != bytes.HasPrefix(data, []byte(attach.Magic)) || short != (err != nil) || err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("%q: %v, %v", data, same, err)
		}
		if now, known := beginsNow(conn, attach.Magic); known && now != same || now && !known {
			t.Fatalf("%q: now %v, known %v", data, now, known)
		}
		if left, err := io.ReadAll(conn); !bytes.Equal(left, data) || err != nil {
			t.Fatalf("%q is left of %q, %v", left, data, err)
		}
	})
}
