//go:build linux

package launch

import (
	"os"

	"firma/internal/control"
)

// peer is a part of the run that the launcher talks to: a process it started, or a
// Sidecar that somebody else did.
type peer interface {
	// send passes a message on; when the peer is gone, its own reason is the error.
	send(m control.Message, files ...*os.File) error
	// expect waits for the next message, which must be of the given kind; a failure
	// the peer reports, or its end, is the error.
	expect(k control.Kind) (control.Message, error)
	// lost is closed when the peer is gone; died then says why.
	lost() <-chan struct{}
	died() error
	// stop ends the peer's part in this run in order, kill at once.
	stop()
	kill()
}

func (c *child) lost() <-chan struct{} { return c.gone }

// parts are the peers there are, in the order in which they are ended.
func (r *run) parts() []peer {
	var out []peer
	if r.sidecar != nil {
		out = append(out, r.sidecar)
	}
	if r.authority != nil {
		out = append(out, r.authority)
	}
	return out
}
