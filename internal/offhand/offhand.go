// Package offhand decides whether system calls that hardly ever wait are made without a
// word to Go's scheduler. A word costs more than a short call: at the first one after all
// was idle, the scheduler's watchdog begins to look every twenty microseconds. But while a
// call that was not announced waits, its processor, and a collection of garbage, do so
// too. So calls are announced for a while when they have begun to take long.
package offhand

import (
	"sync/atomic"
	"time"
)

const (
	slow  = time.Millisecond      // a call that takes longer
	stuck = 50 * time.Millisecond // and one that shows by itself that there is something to wait for
	pause = 2 * time.Second       // for which calls are announced when too many do

	// Every slow call counts for some quick ones. A thread that lost its processor in
	// the middle of a call looks slow, too; a few in a row, or a fifth of all, do not
	// come about like this.
	weight = 4
	many   = 3 * weight
)

// Calls is what is known of calls of one kind. The zero value is ready. It is safe for
// concurrent use; now and then a measurement is lost.
type Calls struct {
	score atomic.Int64 // of slow calls, less the quick ones
	until atomic.Int64 // when it is tried again, after start; 0: they are short
}

// Call is one that is under way.
type Call struct {
	// Announce says that the scheduler is to be told, as package syscall's Syscall does,
	// and RawSyscall does not.
	Announce bool
	begun    time.Duration
}

// start is what times are counted from: a clock that nobody sets.
var start = time.Now()

// Begin is to be called right before a call.
func (c *Calls) Begin() Call { return c.begin(time.Since(start)) }

// End is to be called right after it.
func (c *Calls) End(call Call) { c.end(call, time.Since(start)) }

func (c *Calls) begin(now time.Duration) Call {
	until := c.until.Load()
	if until != 0 && int64(now) >= until && c.until.CompareAndSwap(until, 0) {
		until = 0
		c.score.Store(0)
	}
	return Call{Announce: until != 0, begun: now}
}

func (c *Calls) end(call Call, now time.Duration) {
	score := c.score.Load()
	switch took := now - call.begun; {
	case took > slow:
		if score += weight; score >= many || took > stuck {
			c.until.Store(int64(now + pause))
			score = many - weight // the next one settles it again
		}
	case score > 0:
		score--
	default:
		return
	}
	c.score.Store(score)
}
