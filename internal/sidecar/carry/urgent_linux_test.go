package carry_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// urgent sends one byte out of band. A read does not go past where it was.
func urgent(t *testing.T, c socket) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil) })
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}

// What stands behind urgent data is carried though nothing more comes to announce it.
func TestUrgent(t *testing.T) {
	w := begin(t, "tcp")
	fmt.Fprint(w.agent, "before")
	urgent(t, w.agent)
	fmt.Fprint(w.agent, "after")
	w.pair.Send()
	expect(t, w.origin, "beforeafter")
}

// The kernel's own moving stops at urgent data, and takes it for the end behind the
// last byte.
func TestUrgentInBulk(t *testing.T) {
	piece := bytes.Repeat([]byte("0123456789abcdef"), 4<<10)
	for range 20 {
		w := begin(t, "tcp")
		w.pair.Send()
		go func() {
			for range 8 {
				w.agent.Write(piece)
				urgent(t, w.agent)
			}
			w.agent.Write(piece)
			w.agent.CloseWrite()
		}()
		got, err := io.ReadAll(w.origin)
		got = bytes.ReplaceAll(got, []byte("!"), nil) // only the last one is kept apart
		if want := bytes.Repeat(piece, 9); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes of %d, %v", len(got), len(want), err)
		}
	}
}
