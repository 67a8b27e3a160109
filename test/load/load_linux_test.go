package load

import (
	"os"
	"testing"
	"time"
)

func TestDirectTraffic(t *testing.T) {
	o, err := NewOrigin()
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	p := Path{Host: o.Addr(), Tun: o.Addr()}
	hello := Hello("bench.test")
	if len(hello) < 100 || hello[0] != recordHandshake {
		t.Fatalf("no ClientHello: % x", hello)
	}
	if r, err := p.KeepAlive(2, 10*time.Millisecond, true); err != nil || r.Count == 0 || len(r.Latencies) != r.Count {
		t.Errorf("KeepAlive: %+v, %v", r.Count, err)
	}
	if r, err := p.Tunnels(hello, 2, 10*time.Millisecond); err != nil || r.Count == 0 {
		t.Errorf("Tunnels: %+v, %v", r, err)
	}
	if _, err := p.Pull(hello, 3<<20+1); err != nil {
		t.Errorf("Pull: %v", err)
	}
}

func TestWebSocketDirect(t *testing.T) {
	o, err := NewOrigin()
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	c := Churn{Path: Path{Host: o.Addr(), Tun: o.Addr()}}
	for _, f := range []func() error{c.webSocket, c.slow} {
		if err := f(); err != nil {
			t.Error(err)
		}
	}
}

func TestInsideDirect(t *testing.T) {
	o, err := NewTLSOrigin("inside.test")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	p := Path{Host: o.Addr, Tun: o.Addr}
	if r, err := p.Inside("inside.test", 2, 10*time.Millisecond); err != nil || r.Count == 0 {
		t.Errorf("Inside: %+v, %v", r, err)
	}
	if r, err := p.Inside2("inside.test", 2, 10*time.Millisecond); err != nil || r.Count == 0 {
		t.Errorf("Inside2: %+v, %v", r, err)
	}
}

func TestProcess(t *testing.T) {
	if d, err := CPU(os.Getpid()); err != nil || d <= 0 {
		t.Errorf("CPU: %v, %v", d, err)
	}
	if s, err := Look(os.Getpid()); err != nil || s.RSS == 0 || s.FDs < 3 || s.Threads == 0 {
		t.Errorf("Look: %+v, %v", s, err)
	}
}
