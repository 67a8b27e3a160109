//go:build linux

package control

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

func pair(t *testing.T) (*Conn, *Conn) {
	t.Helper()
	a, f, err := Pair("test")
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestMessagesKeepTheirSizeAndOrder(t *testing.T) {
	a, b := pair(t)
	for _, n := range []int{0, 10, 100_000, 1, 50_000} {
		if err := a.Send(Message{Kind: KindStart, Sidecar: &SidecarStart{Profile: strings.Repeat("x", n)}}); err != nil {
			t.Fatal(err)
		}
		m, _, err := b.Recv()
		if err != nil || m.Sidecar == nil || len(m.Sidecar.Profile) != n {
			t.Fatalf("%d: %v %v", n, m, err)
		}
	}
	if err := a.Send(Message{Kind: KindStart, Sidecar: &SidecarStart{Profile: strings.Repeat("x", MaxMessage)}}); err == nil {
		t.Error("a message over the limit was sent")
	}
}

func TestDescriptorsAndPid(t *testing.T) {
	a, b := pair(t)
	if err := b.WantPeerPid(); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := a.Send(Message{Kind: KindSockets}, w); err != nil {
		t.Fatal(err)
	}
	w.Close()
	m, files, pid, err := b.RecvFrom()
	if err != nil || m.Kind != KindSockets || len(files) != 1 || pid != os.Getpid() {
		t.Fatalf("%v %v %d %v", m, files, pid, err)
	}
	if _, err := files[0].WriteString("x"); err != nil {
		t.Fatal(err)
	}
	files[0].Close()
	if got, _ := io.ReadAll(r); string(got) != "x" {
		t.Errorf("%q came through the passed descriptor", got)
	}
}

func TestTheEndOfThePeerIsEOF(t *testing.T) {
	a, b := pair(t)
	a.Close()
	if _, _, err := b.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("%v, want EOF", err)
	}
	if err := b.Send(Message{Kind: KindEnd}); err == nil {
		t.Error("sent to nobody")
	}
}

// TestLastWords: what the peer said before it ended is received, also when it left
// something unread.
func TestLastWords(t *testing.T) {
	a, b := pair(t)
	for _, k := range []Kind{KindStart, KindSockets} {
		if err := a.Send(Message{Kind: k}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Send(Message{Kind: KindFailed, Failure: FailureOf(errors.New("no key"))}); err != nil {
		t.Fatal(err)
	}
	b.Close()
	if m, _, err := a.Recv(); err != nil || m.Kind != KindFailed {
		t.Errorf("%v, %v", m, err)
	}
	if _, _, err := a.Recv(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}
