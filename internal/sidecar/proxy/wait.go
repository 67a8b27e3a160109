package proxy

import (
	"cmp"
	"errors"
	"os"
	"time"
)

// fill reads from the upstream. When that takes long, the client is watched from
// then on, and the timeouts apply.
func (x *exchange) fill() error {
	for {
		err := x.u.in.Fill()
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if x.armed && x.stalled() {
			return err
		}
		if x.watched == nil {
			x.watch()
		}
		x.armed, x.moved = true, x.progress()
		if err := x.u.nc.SetReadDeadline(x.limit()); err != nil {
			return err
		}
	}
}

// stalled reports whether a timeout that expired was meant: nothing was sent or
// received since it was set.
func (x *exchange) stalled() bool { return x.moved == x.progress() }

// progress grows with every byte of either body, and with the response head.
func (x *exchange) progress() int64 {
	n := x.res.ResponseBytes
	if x.res.Status != 0 {
		n++
	}
	if x.watched != nil {
		n += x.watched.sent.Load()
	}
	return n
}

func (x *exchange) limit() time.Time {
	d := x.c.srv.cfg.StreamIdle
	if x.res.Status == 0 {
		d = x.c.srv.cfg.ResponseTimeout
		if of := x.c.srv.cfg.HostTimeout; of != nil {
			d = cmp.Or(of(x.c.call.HostKey()), d)
		}
	}
	if d < 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}
