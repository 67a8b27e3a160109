package h2

import (
	"sync/atomic"
	"time"
)

// What frames cost that make work without carrying anything. A client that does
// not stop is disconnected (rapid reset, CVE-2023-44487, and the floods of
// CVE-2019-9512 to 9518).
const (
	costFrame    = 4  // PING, PRIORITY, empty DATA
	costWindow   = 1  // WINDOW_UPDATE
	costReset    = 8  // RST_STREAM
	costSettings = 16 // SETTINGS
	costRefused  = 16 // a request that can't be served
	earnData     = 8  // a DATA frame sent, which clients answer with the above
	earnStream   = 8  // a request served

	budgetMax  = 4096
	budgetRate = 1024 // per second
)

// budget is a bucket of tokens. The connection's reader spends; streams earn.
type budget struct {
	left   int
	at     time.Time
	earned atomic.Int64
}

func (b *budget) init() { b.left, b.at = budgetMax, time.Now() }

func (b *budget) earn(n int) { b.earned.Add(int64(n)) }

func (b *budget) spend(n int) error {
	if b.left -= n; b.left >= 0 {
		return nil
	}
	now := time.Now()
	b.left += int(now.Sub(b.at)*budgetRate/time.Second) + int(b.earned.Swap(0))
	b.left, b.at = min(b.left, budgetMax), now
	if b.left < 0 {
		return violation(codeCalm, "too many frames that carry nothing")
	}
	return nil
}

// resets remembers streams that this side reset: what the client sent before it
// knew is no violation.
type resets struct {
	ids  [128]uint32
	next int
}

func (r *resets) add(id uint32) {
	r.ids[r.next%len(r.ids)] = id
	r.next++
}

func (r *resets) has(id uint32) bool {
	for _, x := range r.ids {
		if x == id {
			return true
		}
	}
	return false
}
