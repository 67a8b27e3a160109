package authority

import (
	"context"
	"errors"
	"net"
	"testing"
)

// The slots are given back, and a full listener stops when it is closed.
func TestBoundedListener(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &boundedListener{Listener: inner, slots: make(chan struct{}, 2), done: make(chan struct{})}
	accept := func() net.Conn {
		t.Helper()
		out, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = out.Close() })
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first, second := accept(), accept()
	_ = first.Close()
	_ = first.Close() // gives one slot back, not two
	third := accept()
	if len(l.slots) != 2 {
		t.Errorf("%d slots taken, want 2", len(l.slots))
	}
	_ = l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
	_, _ = second.Close(), third.Close()
}

func TestListenFallsBackOnlyWithoutAnAddress(t *testing.T) {
	l, err := listen(context.Background(), "[2001:db8::1]:0") // nobody has it
	if err == nil {
		_ = l.Close()
		t.Fatal("listened on an address of nobody")
	}
}
