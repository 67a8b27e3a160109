//go:build unix

package sidecar

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"firma/internal/control"
	"firma/internal/sidecar/intake"
	"firma/internal/sidecar/sock"
	"firma/internal/sidecar/uplink"
)

// Options are what a Sidecar that stands alone is started with, as ready values.
type Options struct {
	ConfigPath string                // for the log; "" without a file
	Start      *control.SidecarStart // what it enforces; SandboxID is its own name

	// Session and Agent are whose the calls of the port's own clients are.
	Session, Agent string

	// AuthorityURL and AuthorityKey name the Authority it follows. Without one,
	// Policies decide, and nothing is ever revoked.
	AuthorityURL string
	AuthorityKey []byte
	Policies     []byte

	Listen control.Endpoint // where it serves
	GRPC   bool             // it answers questions there, and carries no calls
	Health string           // "ip:port" of GET /healthz
	Secret string           // what runs on TCP must know to attach
	Drain  time.Duration    // how long calls under way may take at the end

	Ready func(listen, health string) // called once it serves; may be nil
	Hurry <-chan struct{}             // closed to end without waiting; may be nil
	Log   *slog.Logger
}

// Serve runs a Sidecar until ctx ends: it then takes no more calls, lets those
// under way end within o.Drain, records the end of every session and seals the
// log. It returns nil when all of that went well. Errors are faults.
func Serve(ctx context.Context, o Options) error {
	d := &standalone{o: o, log: o.Log}
	err := d.start(ctx)
	if err == nil {
		d.log.Info("ready")
		if o.Ready != nil {
			o.Ready(d.listen.Addr().String(), d.health.addr())
		}
		select {
		case <-ctx.Done():
		case err = <-d.broken:
		}
	}
	return errors.Join(err, d.end())
}

// maxTotal is how many connections all sessions may have when nothing is configured.
const maxTotal = 8192

// standalone is one Sidecar with its port. Fields are set by start, in order, and
// undone by end.
type standalone struct {
	o      Options
	log    *slog.Logger
	health *health
	listen net.Listener
	side   *Sidecar
	direct *session
	intake *intake.Intake
	share  *intake.Share
	broken chan error // the port failed

	mu     sync.Mutex
	guests map[*guest]struct{}
	ending bool
}

func (d *standalone) start(ctx context.Context) error {
	d.broken, d.guests = make(chan error, 1), map[*guest]struct{}{}
	var err error
	if d.health, err = serveHealth(d.o.Health, d.ready); err != nil {
		return err
	}
	if d.listen, err = bind(d.o.Listen); err != nil {
		return err
	}
	d.listen = sock.Listen(d.listen)
	d.log.Info("config loaded", "path", d.o.ConfigPath)
	if d.side, err = newSidecar(d.o.Start, d.log); err != nil {
		return err
	}
	d.log.Info("mapping table loaded", "rules", d.side.table.Len())
	if err := d.decide(ctx); err != nil {
		return err
	}
	d.log.Info("connector registry built", "hosts", len(d.o.Start.Hosts), "default_timeout_ms", d.side.responseTimeout().Milliseconds())
	if err := d.serve(); err != nil {
		return err
	}
	d.log.Info("interceptor listening", "addr", d.listen.Addr().String())
	return nil
}

// decide brings up what decides: the Authority's streams, or policies of its own.
func (d *standalone) decide(ctx context.Context) error {
	own := d.ownAddresses()
	if d.o.AuthorityURL == "" {
		if err := d.side.standAlone(d.o.Policies, own); err != nil {
			return err
		}
	} else {
		cfg := uplinkConfig(d.o.Start, d.log)
		cfg.URL, cfg.PublicKey = d.o.AuthorityURL, d.o.AuthorityKey
		u, err := uplink.New(cfg)
		if err != nil {
			return err
		}
		if err := d.side.connect(ctx, u, d.o.AuthorityURL, own...); err != nil {
			return err
		}
	}
	b, _ := d.side.state.Bundle()
	d.log.Info("policy bundle loaded", "version", b.Version(), "policies", b.Len())
	d.log.Info("authority stream connected", "endpoint", first(d.o.AuthorityURL, "(disabled)"))
	return nil
}

// ownAddresses are firma's own listeners, which no call may reach.
func (d *standalone) ownAddresses() []netip.AddrPort {
	var own []netip.AddrPort
	for _, addr := range []string{d.listen.Addr().String(), d.health.addr()} {
		if ap, err := netip.ParseAddrPort(addr); err == nil {
			own = append(own, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
		}
	}
	return own
}

// serve opens the session of the port's own clients and starts accepting.
func (d *standalone) serve() error {
	var err error
	info := map[string]any{"mode": "standalone", "sidecar": d.o.Start.SandboxID, "default_protected": d.o.Start.DefaultProtected,
		"rules": d.side.table.Len(), "listen": d.listen.Addr().String()}
	if d.o.GRPC {
		info["interceptor"] = "grpc"
	}
	d.direct, err = d.side.open(identity{session: d.o.Session, agent: d.o.Agent}, info)
	if err != nil {
		return err
	}
	d.direct.tokens = d.side.staged
	d.share = intake.NewShare(within(d.o.Start.Limits.MaxTotal, maxTotal, "max_total_connections", d.log), d.log)
	port := intake.NewQueue()
	in := intake.Config{Direct: func(c net.Conn) { port.Put(c) }, Guest: d.attend, Secret: d.o.Secret, Log: d.log}
	e := entrances{proxy: port}
	if d.o.GRPC {
		e, in.Guest = entrances{questions: port}, nil
	}
	if err := d.direct.serve(d.side.life, e); err != nil {
		return err
	}
	d.share.Join(d.direct.front.Conns, port)
	d.side.begin()
	d.intake = intake.New(in)
	d.side.tasks.Go(func() {
		if err := d.intake.Serve(d.side.life, d.listen); err != nil {
			d.broken <- err
		}
	})
	d.health.set(true)
	return nil
}

// ready is the health endpoint's question: could a call be decided now?
func (d *standalone) ready() bool {
	ok, _ := d.side.state.Ready()
	b, fresh := d.side.state.Bundle()
	return ok && b != nil && time.Now().Before(fresh) && d.side.audit.Err() == nil
}

// end undoes start, as far as it came.
func (d *standalone) end() error {
	if d.health != nil {
		d.health.set(false)
		defer d.health.close()
	}
	if d.listen != nil {
		d.listen.Close()
	}
	if d.side == nil {
		return nil
	}
	d.log.Info("draining", "timeout", d.o.Drain)
	ctx, cancel := context.WithTimeout(context.Background(), d.o.Drain)
	defer cancel()
	go func() {
		select {
		case <-d.o.Hurry: // nil: never
			cancel()
		case <-ctx.Done():
		}
	}()
	errs := d.closeSessions(ctx)
	cp, err := d.side.seal()
	if err == nil {
		d.log.Info("audit log sealed", "path", d.o.Start.AuditLog, "events", cp.Size, "root", cp.Root.String())
	}
	return errors.Join(append(errs, err)...)
}

func (d *standalone) closeSessions(ctx context.Context) (errs []error) {
	d.mu.Lock()
	d.ending = true
	guests := make([]*guest, 0, len(d.guests))
	for g := range d.guests {
		guests = append(guests, g)
	}
	d.mu.Unlock()
	end := control.End{ExitCode: -1, Cause: "the Sidecar was stopped"}
	var wg sync.WaitGroup
	for _, g := range guests {
		wg.Go(func() {
			_, _ = g.close(ctx, end)
			g.line.Close() // its launcher ends the run
		})
	}
	if d.direct != nil {
		_, err := d.direct.close(ctx, control.End{Cause: "the Sidecar was stopped"})
		errs = append(errs, err)
	}
	wg.Wait()
	return errs
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
