package uplink

import (
	"math/rand/v2"
	"time"
)

// backoff doubles from min to max. A wait is between half of the step and all of
// it, so that Sidecars cut off together do not come back together.
type backoff struct {
	min, max time.Duration
	step     time.Duration
}

func (b *backoff) next() time.Duration {
	b.step = min(max(b.step*2, b.min), b.max)
	return b.step/2 + rand.N(b.step/2+1)
}

func (b *backoff) reset() { b.step = 0 }
