//go:build linux

package sock

import "sync/atomic"

// guard keeps a descriptor open while somebody uses it: a number that was closed may be
// another's at once.
type guard struct {
	state atomic.Int64 // closing, and twice the number of users
}

const closing = 1

// enter adds a user; false if the descriptor is closed, or about to be.
func (g *guard) enter() bool {
	for {
		s := g.state.Load()
		if s&closing != 0 {
			return false
		}
		if g.state.CompareAndSwap(s, s+2) {
			return true
		}
	}
}

// leave takes the user away; true if it was the last one of a guard that is shut.
func (g *guard) leave() (last bool) { return g.state.Add(-2) == closing }

// shut lets nobody enter any more. first: nobody had done so before; free: and nobody
// is in.
func (g *guard) shut() (first, free bool) {
	old := g.state.Or(closing)
	return old&closing == 0, old == 0
}

func (g *guard) isShut() bool { return g.state.Load()&closing != 0 }
