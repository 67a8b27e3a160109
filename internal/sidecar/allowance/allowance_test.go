package allowance

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
)

func TestClaimsStayWithin(t *testing.T) {
	b := New(100)
	one, two := b.Claim(), b.Claim()
	for _, step := range []struct {
		c    *Claim
		n    int
		ok   bool
		used int64
	}{
		{&one, 60, true, 60}, {&two, 41, false, 60}, {&two, 40, true, 100}, {&one, 61, false, 100},
		{&one, 10, true, 50}, {&two, 90, true, 100}, {&two, 0, true, 10},
	} {
		if ok := step.c.Hold(step.n); ok != step.ok || b.Used() != step.used {
			t.Fatalf("Hold(%d) = %v with %d in use, want %v and %d", step.n, ok, b.Used(), step.ok, step.used)
		}
	}
	if two.HoldHalf(41) || !two.HoldHalf(40) {
		t.Error("HoldHalf does not leave one half")
	}
	one.Release()
	two.Release()
	two.Release()
	if b.Used() != 0 {
		t.Errorf("%d in use at the end", b.Used())
	}
}

func TestNoBound(t *testing.T) {
	for _, b := range []*Bytes{nil, New(0)} {
		c := b.Claim()
		if !c.Hold(1<<40) || !c.HoldHalf(1<<40) || !c.Wait(context.Background(), 1<<40) || b.Used() != 0 {
			t.Error("what has no bound is bounded")
		}
		c.Release()
	}
}

func TestWait(t *testing.T) {
	b := New(10)
	held, c := b.Claim(), b.Claim()
	held.Hold(8)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if c.Wait(gone, 5) {
		t.Fatal("there was no room")
	}
	got := make(chan bool)
	go func() { got <- c.Wait(context.Background(), 5) }()
	held.Hold(7)
	held.Hold(5)
	if !<-got || b.Used() != 10 {
		t.Errorf("%d in use", b.Used())
	}
}

// TestMany: whatever many do at once, no more than all of it is held, and everybody
// who waits is served.
func TestMany(t *testing.T) {
	b := New(50)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			c := b.Claim()
			for range 300 {
				if !c.Wait(context.Background(), 1+rand.IntN(50)) {
					t.Error("not served")
				}
				if c.Held() > 50 {
					t.Errorf("%d held", c.Held())
				}
				c.Release()
			}
		})
	}
	wg.Wait()
	if b.Used() != 0 {
		t.Errorf("%d in use at the end", b.Used())
	}
}
