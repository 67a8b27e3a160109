// Package carry moves bytes both ways between two connections, unread. A pair of
// plain sockets takes neither a goroutine nor a buffer while nothing flows: a few
// event loops, shared by the process, serve them all. Sidecars hold thousands of
// tunnels that are silent for hours.
package carry

import (
	"errors"
	"sync/atomic"
)

// ErrNoRoom ends a pair whose session may have no more bytes wait.
var ErrNoRoom = errors.New("carry: no memory is left for what waits")

// Tally counts what a pair carried, in bytes. It may be read at any time.
type Tally struct {
	Sent     atomic.Int64 // from the client to the upstream
	Received atomic.Int64
}

// Moved grows with every piece that is carried.
func (t *Tally) Moved() int64 { return t.Sent.Load() + t.Received.Load() }
