//go:build unix

// Package sidecar is the enforcement role: it wires mapping, capability, policy,
// audit, egress, proxy and resolver into one pipeline and owns their lifetime.
//
// Shutdown, in order: the sandbox's listeners close, open calls end and are
// recorded, the run's end is recorded, the log is sealed, the Authority's streams
// close.
package sidecar

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"firma/internal/audit"
	"firma/internal/control"
	"firma/internal/fault"
	"firma/internal/mapping"
	"firma/internal/sidecar/egress"
	"firma/internal/sidecar/enforce"
	"firma/internal/sidecar/proxy"
	"firma/internal/sidecar/resolver"
	"firma/internal/sidecar/uplink"
)

// Sidecar is one wired pipeline. Its steps run in the order newSidecar, connect,
// serve, close.
type Sidecar struct {
	start *control.SidecarStart
	log   *slog.Logger

	audit    *audit.Log
	logPath  string
	table    *mapping.Table
	egress   *egress.Dialer
	uplink   *uplink.Uplink
	enforcer *enforce.Enforcer
	proxy    *proxy.Server

	stop  context.CancelFunc
	tasks sync.WaitGroup
}

// newSidecar prepares all that does not need the Authority, and records the
// run's start. On an error nothing is left open.
func newSidecar(s *control.SidecarStart, log *slog.Logger) (*Sidecar, error) {
	c := &Sidecar{start: s, log: log, logPath: filepath.Join(s.AuditDir, s.SandboxID+".jsonl"), stop: func() {}}
	var err error
	if c.table, err = buildTable(s, log); err != nil {
		return nil, err
	}
	if c.audit, err = openAudit(s, c.logPath); err != nil {
		return nil, err
	}
	err = c.event(context.Background(), audit.KindRunStart, func(e *audit.Event) {
		info := map[string]any{"profile": s.Profile, "posture": s.Posture, "default_protected": s.DefaultProtected,
			"operator_allowed": s.Allow, "rules": c.table.Len()}
		e.Info, _ = json.Marshal(info)
	})
	if err != nil {
		_, _ = c.audit.Close(context.Background())
		return nil, err
	}
	return c, nil
}

func openAudit(s *control.SidecarStart, path string) (*audit.Log, error) {
	key, err := audit.GenerateKey(s.AuditKey)
	if err != nil {
		return nil, err
	}
	return audit.Open(audit.Options{
		Path: path, Origin: s.SandboxID, Key: key,
		CheckpointDir: filepath.Join(s.AuditDir, "checkpoints"),
		Strict:        s.AuditMode == "strict", SignEvents: s.AuditSign == "event",
	})
}

// event records a step of the run itself.
func (c *Sidecar) event(ctx context.Context, kind string, fill func(*audit.Event)) error {
	e := &audit.Event{Kind: kind, Decision: 1, SessionID: c.start.SessionID, AgentID: c.start.AgentID, SandboxID: c.start.SandboxID}
	fill(e)
	return c.audit.Append(ctx, e)
}

// connect brings up the Authority's streams: when it returns nil, there is a
// capability, a bundle and the revocations.
func (c *Sidecar) connect(ctx context.Context, a *control.AuthorityReady) error {
	u, err := newUplink(c.start, a, c.log)
	if err != nil {
		return err
	}
	if err := u.Start(ctx); err != nil {
		return err
	}
	c.uplink = u
	c.egress, err = newDialer(c.start, a.URL)
	return err
}

// serve starts answering on the sandbox's sockets, which it takes over. It
// returns at once.
func (c *Sidecar) serve(ctx context.Context, proxyLn net.Listener, dns net.PacketConn, dnsLn net.Listener) error {
	ctx, c.stop = context.WithCancel(ctx)
	c.enforcer = enforce.New(enforce.Config{
		SandboxID: c.start.SandboxID, SessionID: c.start.SessionID, AgentID: c.start.AgentID,
		Table: c.table, DefaultProtected: c.start.DefaultProtected,
		Authority: c.uplink, Audit: c.audit, Literals: literals{c.egress}, Log: c.log,
	})
	names, err := resolver.New(resolver.Config{Routable: c.enforcer.Routable, Refused: c.enforcer.NameRefused, Log: c.log})
	if err != nil {
		return err
	}
	if c.proxy, err = proxy.New(proxy.Config{Enforcer: c.enforcer, Dialer: c.egress, Log: c.log}); err != nil {
		return err
	}
	c.task("uplink", func() error { return c.uplink.Run(ctx) })
	c.task("proxy", func() error { return c.proxy.Serve(ctx, proxyLn) })
	c.task("resolver", func() error { return names.ServeUDP(ctx, dns) })
	c.task("resolver over TCP", func() error { return names.ServeTCP(ctx, dnsLn) })
	return nil
}

func (c *Sidecar) task(name string, f func() error) {
	c.tasks.Add(1)
	go func() {
		defer c.tasks.Done()
		if err := f(); err != nil && context.Cause(context.Background()) == nil {
			c.log.Debug("task ended", "task", name, "err", err)
		}
	}()
}

// drainTime bounds how long calls that are still open may take to end once the
// agent is gone.
const drainTime = 2 * time.Second

// close ends the pipeline and seals the log.
func (c *Sidecar) close(end control.End) (*control.Summary, error) {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if c.proxy != nil {
		_ = c.proxy.Drain(ctx)
	}
	c.stop()
	c.tasks.Wait()
	sum := &control.Summary{Log: c.logPath, Time: time.Now()}
	if c.enforcer != nil {
		sum.Counts, sum.More = c.enforcer.Tally().Counts()
	}
	err := c.event(context.Background(), audit.KindRunEnd, func(e *audit.Event) {
		e.Info = audit.Info("exit_code", itoa(end.ExitCode), "cause", end.Cause)
	})
	cp, cerr := c.audit.Close(context.Background())
	if c.uplink != nil {
		c.uplink.Close()
	}
	if err != nil {
		return nil, err
	}
	if cerr != nil {
		return nil, fault.Wrap(cerr, "AuditUnavailable", "the audit log could not be sealed", "check the disk that holds "+c.logPath)
	}
	sum.Events = cp.Size
	sum.Checkpoint = fmt.Sprintf("sealed, root %s", cp.Root)
	return sum, nil
}

func itoa(n int) string { return strconv.Itoa(n) }
