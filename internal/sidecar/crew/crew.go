// Package crew runs tasks on goroutines that are kept for the next ones. A new goroutine
// begins with a small stack, and growing it costs a short task more than its work.
package crew

import "sync/atomic"

// Crew runs tasks of one kind. The zero value can't be used; New returns one. It is safe
// for concurrent use.
type Crew[T any] struct {
	do   func(T)
	next chan T
	most int32 // that wait for a task
	idle atomic.Int32
}

// New returns a crew whose tasks are given to do, and which keeps at most most goroutines
// without a task, for the life of the process.
func New[T any](most int, do func(T)) *Crew[T] {
	return &Crew[T]{do: do, next: make(chan T), most: int32(most)}
}

// Go has t done. It does not wait.
func (c *Crew[T]) Go(t T) {
	select {
	case c.next <- t:
	default:
		go c.work(t)
	}
}

func (c *Crew[T]) work(t T) {
	for {
		c.do(t)
		var none T
		t = none // it is not kept alive by whoever has nothing to do
		if c.idle.Add(1) > c.most {
			c.idle.Add(-1)
			return
		}
		t = <-c.next
		c.idle.Add(-1)
	}
}
