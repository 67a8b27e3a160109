//go:build unix

package sidecar

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"firma/internal/audit"
	"firma/internal/fault"
	"firma/internal/sidecar/uplink"
)

const (
	witnessRetry = 5 * time.Second // after a checkpoint that did not arrive
	witnessLast  = 3 * time.Second // how long the end waits for the final one
)

// witness sends the audit log's newest checkpoint to an Authority, which keeps it
// where who can write the log can't: what is cut off or removed later shows. It is
// never waited for but at the end, and no decision depends on it.
type witness struct {
	latest chan audit.Checkpoint // one at most, the newest
	log    *slog.Logger
	behind bool // the last one did not arrive; tell's goroutine only
}

func newWitness(log *slog.Logger) *witness {
	return &witness{latest: make(chan audit.Checkpoint, 1), log: log}
}

// note takes a checkpoint in the place of one that was not sent yet. It is for one
// caller at a time, as audit.Options.Witness promises.
func (w *witness) note(c audit.Checkpoint) {
	for {
		select {
		case w.latest <- c:
			return
		case <-w.latest: // older, or put back by tell
		}
	}
}

// tell sends what there is until ctx ends.
func (w *witness) tell(ctx context.Context, u *uplink.Uplink) {
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-w.latest:
			if w.send(ctx, u, c) || ctx.Err() != nil {
				continue
			}
			select { // a newer one is as good
			case w.latest <- c:
			default:
			}
			select {
			case <-time.After(witnessRetry):
			case <-ctx.Done():
			}
		}
	}
}

// last sends the final checkpoint. tell must have ended.
func (w *witness) last(u *uplink.Uplink, c audit.Checkpoint) {
	ctx, cancel := context.WithTimeout(context.Background(), witnessLast)
	defer cancel()
	w.behind = false // this one is to be spoken of
	w.send(ctx, u, c)
}

// send reports whether there is nothing more to do about c. That the Authority
// can't be reached is said once.
func (w *witness) send(ctx context.Context, u *uplink.Uplink, c audit.Checkpoint) bool {
	text, err := json.Marshal(c)
	if err == nil {
		err = u.Witness(ctx, uplink.Checkpoint{Origin: c.Origin, Size: c.Size, Root: c.Root[:], Text: string(text)})
	}
	switch {
	case err == nil:
		w.behind = false
		return true
	case ctx.Err() != nil && c.Kind != audit.CheckpointFinal:
		return false
	case fault.NameOf(err) == "AuditLogRewritten":
		w.log.Error("the Authority holds another state of this audit log", "err", err)
		return true
	case !w.behind:
		w.log.Warn("the Authority did not take a checkpoint of the audit log as a witness", "kind", c.Kind, "events", c.Size, "err", err)
	}
	w.behind = true
	return false
}
