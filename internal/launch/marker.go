//go:build linux

package launch

import (
	"os"
	"strings"
	"time"

	"firma/internal/control"
	"firma/internal/marker"
)

// mark tells `firma sidecar status` about the run's own Sidecar, beside the start:
// nobody waits for it. What can't be written is only missing there.
func (r *run) mark(ready *control.AuthorityReady) {
	c, own := r.sidecar.(*child)
	if !own {
		return
	}
	m := marker.Run{SandboxID: r.ids.sandbox, AgentID: r.ids.agent, SessionID: r.ids.session, PID: c.proc.Pid(),
		StartedAt: time.Now().UTC().Format(time.RFC3339)}
	if ready != nil {
		m.AuthorityURL, m.PolicyBundleVersion = ready.URL, ready.BundleVersion
	}
	r.marking.Go(func() {
		if err := marker.Write(r.opts.StateDir, m); err != nil {
			r.opts.Log.Debug("the run's marker could not be written", "err", err)
		}
	})
}

// unmark takes the marker back, unless the operator wants to look at it.
func (r *run) unmark() {
	r.marking.Wait()
	switch strings.ToLower(os.Getenv("FIRMA_RUN_KEEP_MARKERS")) {
	case "1", "true", "yes", "on":
	default:
		marker.Remove(r.opts.StateDir, r.ids.sandbox)
	}
}
