//go:build unix

// Package sidecar is the enforcement role: it wires mapping, capability, policy,
// audit, egress, proxy and resolver into one pipeline and owns their lifetime.
// The Sidecar of one run (ServeRun) has one session; one that stands alone
// (Serve) has a session for each run that attaches, and one for its own port.
//
// Shutdown, in order: the listeners close, open calls end and are recorded, each
// session's end is recorded, the log is sealed, the Authority's streams close.
package sidecar

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"firma/internal/audit"
	"firma/internal/ca"
	"firma/internal/capability"
	"firma/internal/control"
	"firma/internal/fault"
	"firma/internal/mapping"
	"firma/internal/policy"
	"firma/internal/sidecar/egress"
	"firma/internal/sidecar/pace"
	"firma/internal/sidecar/seeds"
	"firma/internal/sidecar/uplink"
	"firma/internal/verdict"
)

// Sidecar is what all its sessions share. Its steps run in the order newSidecar,
// connect or standAlone, sessions, seal.
type Sidecar struct {
	start *control.SidecarStart
	log   *slog.Logger

	audit   *audit.Log
	table   *mapping.Table
	pace    *pace.Hosts // nil: no host is bounded
	leaves  *ca.Leaves  // nil where nothing is looked into
	egress  *egress.Dialer
	seeds   *seeds.Seeds   // nil without any
	uplink  *uplink.Uplink // nil without an Authority
	witness *witness       // nil without one that outlives this Sidecar
	state   state

	life  context.Context // of the tasks that belong to no session
	stop  context.CancelFunc
	tasks sync.WaitGroup

	sessions atomic.Int64     // that have begun and not ended
	asked    <-chan os.Signal // SIGUSR1
}

// state is what decides besides capabilities: the Authority's, or what a Sidecar
// without one was configured with.
type state interface {
	Ready() (bool, verdict.Reason)
	Revoked(tokenID string) bool
	Bundle() (b *policy.Bundle, freshUntil time.Time)
}

// newSidecar prepares all that does not need the Authority. On an error nothing
// is left open.
func newSidecar(s *control.SidecarStart, log *slog.Logger) (*Sidecar, error) {
	c := &Sidecar{start: s, log: log}
	c.life, c.stop = context.WithCancel(context.Background())
	c.asked = hear(c.life)
	var err error
	if c.table, err = buildTable(s, log); err != nil {
		return nil, err
	}
	c.pace = pace.New(s.Limits.Hosts)
	if c.leaves, err = newLeaves(s); err != nil {
		return nil, err
	}
	if c.seeds, err = loadSeeds(s, log); err != nil {
		return nil, err
	}
	var noted func(audit.Checkpoint)
	if s.Uplink.Witness {
		c.witness = newWitness(log)
		noted = c.witness.note
	}
	if c.audit, err = openAudit(s, noted); err != nil {
		return nil, err
	}
	return c, nil
}

func openAudit(s *control.SidecarStart, noted func(audit.Checkpoint)) (*audit.Log, error) {
	key, err := audit.GenerateKey(s.AuditKey)
	if err != nil {
		return nil, err
	}
	return audit.Open(audit.Options{
		Path: s.AuditLog, Origin: s.SandboxID, Key: key,
		CheckpointDir: audit.KeepIn(s.AuditDir, s.AuditLog),
		Strict:        s.AuditMode == "strict", SignEvents: s.AuditSign == "event", Witness: noted,
	})
}

// loadSeeds reads the pre-staged capabilities, nil when none are configured.
func loadSeeds(s *control.SidecarStart, log *slog.Logger) (*seeds.Seeds, error) {
	if len(s.Seeds) == 0 {
		return nil, nil
	}
	return seeds.Load(seeds.Config{Paths: s.Seeds, Key: s.SeedKey, Skew: s.Skew, Log: log})
}

// connect brings up the Authority's streams: when it returns nil, there is a
// bundle, the revocations, and a capability if the uplink asks for one. own are
// firma's listeners, which are never dialled, nor is the Authority.
func (c *Sidecar) connect(ctx context.Context, u *uplink.Uplink, url string, own ...netip.AddrPort) error {
	if err := u.Start(ctx); err != nil {
		return err
	}
	c.uplink, c.state = u, u
	if c.witness != nil {
		c.tasks.Go(func() { c.witness.tell(c.life, u) })
	}
	var err error
	c.egress, err = newDialer(c.start, url, own...)
	return err
}

// staged are the pre-staged capabilities.
func (c *Sidecar) staged() *capability.Set {
	if c.seeds == nil {
		return nil
	}
	return c.seeds.Tokens()
}

// begin starts the tasks that serve all sessions.
func (c *Sidecar) begin() {
	c.tasks.Go(func() { c.report(c.life) })
	if c.seeds != nil && c.start.SeedReload {
		c.tasks.Go(func() { c.seeds.Watch(c.life) })
	}
}

// seal ends what the sessions shared and closes the log. Every session must have
// been closed.
func (c *Sidecar) seal() (audit.Checkpoint, error) {
	c.stop()
	c.tasks.Wait()
	cp, err := c.audit.Close(context.Background())
	if c.uplink != nil && c.witness != nil && err == nil {
		c.witness.last(c.uplink, cp)
	}
	if c.uplink != nil {
		c.uplink.Close()
	}
	if err != nil {
		return cp, fault.Wrap(err, "AuditUnavailable", "the audit log could not be sealed", "check the disk that holds "+c.start.AuditLog)
	}
	return cp, nil
}

// sealed completes the summary of a session that was the log's last.
func sealed(sum *control.Summary, cp audit.Checkpoint) *control.Summary {
	sum.Events = cp.Size
	sum.Checkpoint = fmt.Sprintf("sealed, root %s", cp.Root)
	return sum
}

func itoa(n int) string { return strconv.Itoa(n) }
