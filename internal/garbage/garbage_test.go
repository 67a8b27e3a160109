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

// TestRoom: no more than twice the room is given between two collections, or what is usual
// anyway, whatever there is of stacks and globals, which the runtime takes a share of, too,
// and of a heap that is smaller than it takes into account.
func TestRoom(t *testing.T) {
	for _, alive := range []uint64{100 << 10, 1 << 20, 3 << 20, 6 << 20, 11 << 20} {
		for _, roots := range []uint64{0, 1 << 20, 8 << 20, 64 << 20} {
			k := newKeeper()
			k.set = func(int) {}
			k.goal = func() uint64 {
				p := uint64(k.percent)
				return max(4<<20*p/100, alive+(alive+roots)*p/100)
			}
			k.timer = time.NewTimer(time.Hour)
			now := time.Unix(1000, 0)
			k.now = func() time.Time { now = now.Add(time.Millisecond); return now }
			for range after + 10 {
				k.collected()
			}
			k.timer.Stop()
			if more := k.goal() - alive; more > max(2*room, alive+roots) {
				t.Errorf("at %d percent, with %d bytes alive and %d of roots, %d more may be allocated", k.percent, alive, roots, more)
			}
		}
	}
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
