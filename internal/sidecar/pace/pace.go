// Package pace bounds how often, and for how long, one host is asked: the
// operator's [[sidecar.connector.hosts]]. All sessions of a Sidecar share it.
package pace

import (
	"time"

	"golang.org/x/time/rate"

	"firma/internal/control"
)

// Hosts are the bounds by host. Nil bounds nothing. It is safe for concurrent use.
type Hosts struct{ by map[string]*host }

type host struct {
	bucket  *rate.Limiter
	timeout time.Duration
}

// New returns the bounds, whose hosts are written as intent.HostKey writes them;
// nil if there are none.
func New(list []control.HostLimit) *Hosts {
	if len(list) == 0 {
		return nil
	}
	h := &Hosts{by: make(map[string]*host, len(list))}
	for _, l := range list {
		h.by[l.Host] = &host{rate.NewLimiter(rate.Limit(l.RPS), l.Burst), l.Timeout}
	}
	return h
}

// Take is asked for each call that is allowed. When it may not go out now, it
// counts for nothing, and wait is when another one may.
func (h *Hosts) Take(key string, now time.Time) (wait time.Duration, ok bool) {
	if h == nil || h.by[key] == nil {
		return 0, true
	}
	r := h.by[key].bucket.ReserveN(now, 1)
	if wait = r.DelayFrom(now); wait == 0 {
		return 0, true
	}
	r.CancelAt(now)
	return wait, false
}

// Timeout is how long the host may take from the end of a request to the head of
// its response; 0 leaves it to the default.
func (h *Hosts) Timeout(key string) time.Duration {
	if h == nil || h.by[key] == nil {
		return 0
	}
	return h.by[key].timeout
}
