package proxy

import (
	"sync"
	"time"
)

// poolKey is a destination as judged.
type poolKey struct {
	host string
	port uint16
	tls  bool
}

// pool keeps unused upstream connections, the latest used first. A connection in
// it has no reader; its state is looked at when it is taken out.
type pool struct {
	max  int
	keep time.Duration

	mu     sync.Mutex
	idle   map[poolKey][]*upstream
	n      int
	closed bool
	sweep  *time.Timer // runs while n > 0
}

func newPool(max int, keep time.Duration) *pool {
	return &pool{max: max, keep: keep, idle: make(map[poolKey][]*upstream)}
}

// get returns a live connection to key, or nil.
func (p *pool) get(key poolKey) *upstream {
	for {
		u := p.take(key)
		if u == nil {
			return nil
		}
		if u.idle() {
			u.reused = true
			return u
		}
		u.close()
	}
}

func (p *pool) take(key poolKey) *upstream {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.idle[key]
	if len(list) == 0 {
		return nil
	}
	u := list[len(list)-1]
	list[len(list)-1] = nil
	p.idle[key] = list[:len(list)-1] // the empty list stays until the sweep
	p.n--
	return u
}

// put keeps u, which nothing may use any more. It closes u when there is no room
// or when bytes follow the last response: they would be taken for the next one.
func (p *pool) put(u *upstream) {
	if len(u.in.Buffered()) > 0 {
		u.close()
		return
	}
	u.in.Release()
	u.idleAt = time.Now()
	if !p.keepIt(u) {
		u.close()
	}
}

func (p *pool) keepIt(u *upstream) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.n >= p.max {
		return false
	}
	p.idle[u.key] = append(p.idle[u.key], u)
	p.n++
	if p.sweep == nil {
		p.sweep = time.AfterFunc(p.keep, p.expire)
	}
	return true
}

// expire closes connections unused for longer than keep.
func (p *pool) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	limit := time.Now().Add(-p.keep)
	for key, list := range p.idle {
		i := 0
		for i < len(list) && !list[i].idleAt.After(limit) {
			list[i].close()
			i++
		}
		p.n -= i
		if list = append(list[:0], list[i:]...); len(list) == 0 {
			delete(p.idle, key)
		} else {
			clear(list[len(list):cap(list)])
			p.idle[key] = list
		}
	}
	p.sweep = nil
	if len(p.idle) > 0 && !p.closed {
		p.sweep = time.AfterFunc(max(p.keep/4, time.Millisecond), p.expire)
	}
}

// close closes all and keeps nothing from now on.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.sweep != nil {
		p.sweep.Stop()
		p.sweep = nil
	}
	for key, list := range p.idle {
		for _, u := range list {
			u.close()
		}
		delete(p.idle, key)
	}
	p.n = 0
}
