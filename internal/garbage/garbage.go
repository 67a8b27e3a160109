// Package garbage has Go's runtime collect garbage less often while much of it is made,
// and gives memory back when that is over. What is alive in a busy Sidecar is a few
// megabytes, so the usual rule, to collect when as much again was allocated, has it marked
// dozens of times a second.
package garbage

import (
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

const (
	usual = 100             // percent, the runtime's own rule
	room  = 12 << 20        // bytes that may be allocated between two collections when busy
	often = time.Second / 2 // between two collections: more often is busy
	calm  = 3 * time.Second // without a collection: not busy any more
	after = 4               // such collections in a row: it is busy
	least = usual / 4       // percent by which a change is worth it
)

// Relax does it for the process, from now on. It leaves everything to who has set GOGC or
// GOMEMLIMIT in the environment. It may be called more than once.
func Relax() { relax() }

var relax = sync.OnceFunc(func() {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		if os.Getenv(name) != "" {
			return
		}
	}
	k := newKeeper()
	k.timer = time.AfterFunc(calm, k.rest)
	k.timer.Stop()
	onCollection(k.collected)
})

// onCollection has f called after each collection, in a goroutine of the runtime's.
func onCollection(f func()) {
	type sentinel struct{ _ *byte } // has a pointer, or it would share its place with others
	var arm func()
	arm = func() { runtime.SetFinalizer(&sentinel{}, func(*sentinel) { f(); arm() }) }
	arm()
}

// keeper sets the pace.
type keeper struct {
	now   func() time.Time
	goal  func() uint64 // bytes of heap at which the next collection is due
	set   func(percent int)
	free  func()
	timer *time.Timer

	mu      sync.Mutex
	last    time.Time // of a collection
	quick   int       // collections in a row, each soon after the one before
	percent int
}

func newKeeper() *keeper {
	return &keeper{now: time.Now, goal: goal, set: func(p int) { debug.SetGCPercent(p) }, free: debug.FreeOSMemory, percent: usual}
}

// goal stops all goroutines for some microseconds. Package runtime/metrics does not, but
// costs each start of firma more than that.
func goal() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.NextGC
}

// collected is told of every collection.
func (k *keeper) collected() {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	if k.quick++; now.Sub(k.last) >= often {
		k.quick = 0
	}
	k.last = now
	// As long as there is more room than usual it is to fit what is alive, however seldom
	// it is collected: a heap that has grown would be given that many times its size.
	if k.quick >= after || k.percent > usual {
		live := k.goal() * 100 / uint64(100+k.percent) // as the goal was set
		k.change(percentFor(live))
	}
	if k.percent > usual {
		k.timer.Reset(calm)
	}
}

func percentFor(live uint64) int { return max(usual, int(room*100/max(live, 1<<20))) }

func (k *keeper) change(percent int) {
	if d := percent - k.percent; percent == usual && d != 0 || d > least || d < -least {
		k.percent = percent
		k.set(percent)
	}
}

// rest gives back what was taken.
func (k *keeper) rest() {
	k.mu.Lock()
	busy := k.percent > usual
	if busy {
		k.change(usual)
		k.quick = 0 // what follows is no sign of work
	}
	k.mu.Unlock()
	if busy {
		k.free()
	}
}
