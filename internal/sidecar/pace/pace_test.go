package pace_test

import (
	"testing"
	"time"

	"firma/internal/control"
	"firma/internal/sidecar/pace"
)

func TestTake(t *testing.T) {
	h := pace.New([]control.HostLimit{{Host: "a.test", RPS: 2, Burst: 3, Timeout: time.Minute}, {Host: "a.test:8080", RPS: 0.5, Burst: 1}})
	now := time.Unix(1000, 0)
	for i := range 3 {
		if wait, ok := h.Take("a.test", now); !ok || wait != 0 {
			t.Errorf("call %d of a burst of 3: %v, %v", i, wait, ok)
		}
	}
	for range 5 { // those that are refused take nothing
		if wait, ok := h.Take("a.test", now); ok || wait != 500*time.Millisecond {
			t.Errorf("beyond the burst: %v, %v", wait, ok)
		}
	}
	if _, ok := h.Take("a.test", now.Add(500*time.Millisecond)); !ok {
		t.Error("after the time it was told to wait")
	}
	if _, ok := h.Take("a.test:8080", now); !ok {
		t.Error("another port is another host")
	}
	if wait, ok := h.Take("a.test:8080", now); ok || wait != 2*time.Second {
		t.Errorf("%v, %v", wait, ok)
	}
	for _, h := range []*pace.Hosts{h, nil, pace.New(nil)} {
		for range 100 {
			if _, ok := h.Take("b.test", now); !ok {
				t.Fatal("a host without a limit")
			}
		}
	}
	if d := h.Timeout("a.test"); d != time.Minute {
		t.Error(d)
	}
	if d := (*pace.Hosts)(nil).Timeout("a.test"); d != 0 {
		t.Error(d)
	}
}
