// Package allowance counts the bytes that the Sidecar holds in memory on one
// session's behalf. What would hold more than the session may make it hold waits
// or is refused; what another session holds does not matter.
package allowance

import (
	"context"
	"sync"
	"sync/atomic"
)

// Bytes is what one session may make the Sidecar hold. A nil one has no bound. It
// is safe for concurrent use.
type Bytes struct {
	max  int64
	used atomic.Int64

	waiting atomic.Int32
	mu      sync.Mutex
	freed   chan struct{} // closed when some come back while somebody waits
}

// New returns an allowance of max bytes, none if that is not more than zero.
func New(max int64) *Bytes {
	if max <= 0 {
		return nil
	}
	return &Bytes{max: max, freed: make(chan struct{})}
}

// Max returns how many bytes there are in all, 0 for no bound.
func (b *Bytes) Max() int64 {
	if b == nil {
		return 0
	}
	return b.max
}

// Used returns how many bytes are held.
func (b *Bytes) Used() int64 {
	if b == nil {
		return 0
	}
	return b.used.Load()
}

// take holds n more bytes, unless more than max would be held then.
func (b *Bytes) take(n, max int64) bool {
	if b == nil {
		return true
	}
	if b.used.Add(n) <= max {
		return true
	}
	b.give(n)
	return false
}

func (b *Bytes) give(n int64) {
	if b == nil {
		return
	}
	b.used.Add(-n)
	if b.waiting.Load() > 0 {
		b.mu.Lock()
		defer b.mu.Unlock()
		close(b.freed)
		b.freed = make(chan struct{})
	}
}

func (b *Bytes) change() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.freed
}

// Claim is what one thing holds of an allowance. It is not safe for concurrent use.
// The zero value holds nothing of no allowance, and may hold whatever it likes.
type Claim struct {
	of *Bytes
	n  int64
}

// Claim returns one that holds nothing yet.
func (b *Bytes) Claim() Claim { return Claim{of: b} }

// Hold makes it n bytes in all. false: there is no room for more, and it stays as
// it was.
func (c *Claim) Hold(n int) bool { return c.hold(int64(n), c.of.Max()) }

// HoldHalf is Hold where half of the allowance must stay free for others.
func (c *Claim) HoldHalf(n int) bool { return c.hold(int64(n), c.of.Max()/2) }

func (c *Claim) hold(n, max int64) bool {
	switch {
	case c.of == nil:
	case n > c.n:
		if !c.of.take(n-c.n, max) {
			return false
		}
	case n < c.n:
		c.of.give(c.n - n)
	}
	c.n = n
	return true
}

// Held returns how many bytes it holds.
func (c *Claim) Held() int { return int(c.n) }

// Wait is Hold that waits for room until ctx is done.
func (c *Claim) Wait(ctx context.Context, n int) bool {
	if c.Hold(n) {
		return true
	}
	b := c.of
	b.waiting.Add(1)
	defer b.waiting.Add(-1)
	for {
		change := b.change()
		if c.Hold(n) {
			return true
		}
		select {
		case <-change:
		case <-ctx.Done():
			return false
		}
	}
}

// Release gives all of it back.
func (c *Claim) Release() { c.Hold(0) }
