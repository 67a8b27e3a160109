package garbage

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

// TestPace: the pace follows how often there is a collection, and what is alive.
func TestPace(t *testing.T) {
	now, alive, freed := time.Unix(1000, 0), uint64(3<<20), 0
	k := newKeeper()
	k.now = func() time.Time { return now }
	k.goal = func() uint64 { return alive * uint64(100+k.percent) / 100 }
	k.set = func(int) {}
	k.free = func() { freed++ }
	k.timer = time.NewTimer(time.Hour)
	defer k.timer.Stop()
	collections := func(n int, apart time.Duration) {
		for range n {
			now = now.Add(apart)
			k.collected()
		}
	}
	want := func(percent, frees int) {
		t.Helper()
		if k.percent != percent || freed != frees {
			t.Errorf("%d percent, freed %d times; want %d and %d", k.percent, freed, percent, frees)
		}
	}
	collections(50, time.Second)
	want(100, 0)
	collections(after-1, time.Millisecond)
	want(100, 0)
	collections(1, time.Millisecond)
	want(400, 0)
	alive = 3<<20 + 1000 // no reason to change
	collections(9, time.Millisecond)
	want(400, 0)
	collections(9, time.Second) // less often, since there is room
	want(400, 0)
	alive = 40 << 20
	collections(1, time.Second) // much more is alive: four times that would be too much
	want(100, 0)
	collections(after, time.Millisecond)
	want(100, 0)
	k.rest()
	want(100, 0)
	alive = 6 << 20
	collections(after, time.Millisecond)
	want(200, 0)
	k.rest()
	want(100, 1)
	collections(2, time.Millisecond) // what giving back entails
	want(100, 1)
}

// TestRoom: about as much is allocated between two collections as there is to be room
// for, whatever there is of stacks, which the runtime gives a share to, and of a heap that
// is smaller than it takes into account.
func TestRoom(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(usual))
	at := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}, {Name: "/gc/heap/live:bytes"}}
	for _, stacks := range []int{0, 100} {
		gate, deep, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
		for range stacks {
			go func() {
				wide(func() { deep <- struct{}{}; <-gate })
				done <- struct{}{}
			}()
		}
		for range stacks {
			<-deep
		}
		debug.SetGCPercent(usual)
		k := newKeeper()
		k.timer = time.NewTimer(time.Hour)
		k.quick = after
		for range 8 {
			runtime.GC()
			k.collected()
		}
		metrics.Read(at)
		if more := at[0].Value.Uint64() - at[1].Value.Uint64(); k.percent <= usual || more > room+room/2 {
			t.Errorf("at %d percent, with %d deep stacks, %d bytes may be allocated", k.percent, stacks, more)
		}
		k.timer.Stop()
		close(gate)
		for range stacks {
			<-done
		}
	}
}

// wide calls f with much on its stack, all of it in use.
func wide(f func()) {
	var b [64 << 10]byte
	f()
	runtime.KeepAlive(&b)
}

var sink []byte

// TestRelax: the runtime does so.
func TestRelax(t *testing.T) {
	t.Setenv("GOGC", "")
	defer debug.SetGCPercent(debug.SetGCPercent(usual))
	Relax()
	percent := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		for range 1000 {
			sink = make([]byte, 16<<10)
		}
		if metrics.Read(percent); percent[0].Value.Uint64() > usual {
			return
		}
		runtime.Gosched()
	}
	t.Error("it is collected as often as ever")
}
