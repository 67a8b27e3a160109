package h2

import (
	"context"
	"net/http"
	"time"
)

// bounded gives the upstream as long as its host may take to begin the answer, from
// when the last of the request went out. answered ends that; false if it took longer.
func (x *exchange) bounded(req *http.Request) (_ *http.Request, answered func() bool) {
	var d time.Duration
	if of := x.c.srv.cfg.HostTimeout; of != nil {
		d = of(x.call.HostKey())
	}
	if d <= 0 {
		return req, func() bool { return true }
	}
	ctx, cancel := context.WithCancel(req.Context())
	late, seen := false, int64(0)
	x.c.mu.Lock() // the timer's function may run before timer is set
	defer x.c.mu.Unlock()
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		x.c.mu.Lock()
		defer x.c.mu.Unlock()
		if x.sent != seen {
			seen = x.sent
			timer.Reset(d)
			return
		}
		late = true
		cancel()
	})
	return req.WithContext(ctx), func() bool {
		timer.Stop()
		x.c.mu.Lock()
		defer x.c.mu.Unlock()
		return !late
	}
}

// limit cuts the stream when nothing is carried for too long.
func (x *exchange) limit() (stop func()) {
	idle := x.c.srv.cfg.StreamIdle
	if idle < 0 {
		return func() {}
	}
	seen := int64(-1)
	x.c.mu.Lock() // the timer's function may run before timer is set
	defer x.c.mu.Unlock()
	var timer *time.Timer
	timer = time.AfterFunc(idle, func() {
		x.c.mu.Lock()
		defer x.c.mu.Unlock()
		switch n := x.moved.Load() + x.sent; {
		case !x.active:
		case n == seen:
			x.resetLocked(errIdle, codeCancel)
		default:
			seen = n
			timer.Reset(idle)
		}
	})
	return func() { timer.Stop() }
}
