//go:build unix

package main

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"firma/internal/config"
	"firma/internal/control"
	"firma/internal/fault"
	"firma/internal/ids"
	"firma/internal/instruct"
	"firma/internal/policy"
	"firma/internal/secretfile"
	"firma/internal/sidecar"
)

func (o *sidecarOptions) serve(ctx context.Context) error {
	if o.control >= 3 {
		return o.serveRun(ctx, os.NewFile(uintptr(o.control), "control"))
	}
	return reported(o.report, func(r *reporter) error { return o.serveAlone(ctx, r) })
}

// serveRun is the Sidecar of one run, which tells its launcher what goes wrong on
// the control channel.
func (o *sidecarOptions) serveRun(ctx context.Context, f *os.File) error {
	// Standard error ends in firma run. When that is killed, a log line must not
	// kill this process before it has sealed what it keeps.
	signal.Ignore(syscall.SIGPIPE)
	log, _, err := o.log.open("sidecar", os.Stderr)
	if err != nil {
		return err
	}
	ctl, err := control.New(f)
	if err != nil {
		return err
	}
	if sidecar.ServeRun(ctx, ctl, log) != nil {
		return exitError(1)
	}
	return nil
}

// serveAlone settles everything before anything is opened.
func (o *sidecarOptions) serveAlone(ctx context.Context, r *reporter) error {
	s, err := o.settings()
	if err != nil {
		return err
	}
	if o.authorityURL == "" {
		if err := needSection(s.cfg); err != nil {
			return err
		}
	}
	log, err := o.openLog(s.cfg)
	if err != nil {
		return err
	}
	opts, err := o.alone(s, log)
	if err != nil {
		return err
	}
	opts.Ready = func(listen, health string) { r.ready(startupReport{Listen: listen, Health: health}) }
	opts.Hurry = secondSignal(ctx)
	return sidecar.Serve(ctx, opts)
}

// openLog takes the level of [sidecar.log] where flags and environment name none.
func (o *sidecarOptions) openLog(c *config.Config) (*slog.Logger, error) {
	l := *o.log
	if l.filter == "" && os.Getenv("FIRMA_LOG_FILTER") == "" && os.Getenv("RUST_LOG") == "" {
		l.filter = c.Sidecar.Log.Level
	}
	return l.openInfo("sidecar", os.Stderr)
}

// secondSignal is closed by the second SIGINT or SIGTERM.
func secondSignal(ctx context.Context) <-chan struct{} {
	hurry := make(chan struct{})
	go func() {
		<-ctx.Done()
		again := make(chan os.Signal, 1)
		signal.Notify(again, syscall.SIGINT, syscall.SIGTERM)
		<-again
		close(hurry)
	}()
	return hurry
}

func (o *sidecarOptions) alone(s *settings, log *slog.Logger) (sidecar.Options, error) {
	c, place := s.cfg, instruct.Here(s.state, log)
	opts := sidecar.Options{
		ConfigPath: c.Path, Log: log, Drain: c.Sidecar.Interceptor.DrainTimeout.Or(config.DefaultDrainTimeout),
		Health: firstOf(o.health, os.Getenv("FIRMA_SIDECAR_HEALTH_BIND_ADDR"), defaultHealth),
		Listen: control.Endpoint{Network: "tcp", Address: firstOf(c.Sidecar.Interceptor.ListenAddr, config.DefaultSidecarListen)},
	}
	x := &c.Sidecar.Interceptor
	opts.GRPC = x.Mode == config.ModeGRPC
	if x.Mode == config.ModeUnixSocket || opts.GRPC && x.SocketPath != "" {
		opts.Listen = control.Endpoint{Network: "unix", Address: x.SocketPath}
	}
	var err error
	if opts.Start, err = instruct.Sidecar(c, ids.New(ids.Sidecar), instruct.Shipped(), c.Sidecar.CapabilitySeed.Paths, place); err != nil {
		return opts, err
	}
	opts.Start.Intercept.Enabled = opts.Start.Intercept.Enabled && !opts.GRPC // it sees no connection to look into
	opts.Start.NoAllow = true                                                 // a run can't add to it
	if err := useKeptCA(opts.Start, c, place); err != nil {
		return opts, err
	}
	if opts.Start.LocalExec, err = instruct.LocalExecAlone(c, opts.Listen); err != nil {
		return opts, err
	}
	// Runs may bring capabilities of the same issuer.
	if opts.Start.SeedKey, err = instruct.IssuerKey(c); err != nil && len(opts.Start.Seeds) > 0 {
		return opts, err
	}
	if err := o.whose(&opts, c, log); err != nil {
		return opts, err
	}
	if opts.Listen.Network == "tcp" && !opts.GRPC {
		if opts.Secret, err = secretfile.LoadOrCreate(c.AttachSecret(s.state)); err != nil {
			return opts, err
		}
	}
	return opts, o.authority(&opts, c, place)
}

// whose settles the session of the port's own clients: that of the configured
// capabilities, if they are for one.
func (o *sidecarOptions) whose(opts *sidecar.Options, c *config.Config, log *slog.Logger) error {
	seeds, err := instruct.Seeds(c.Sidecar.CapabilitySeed.Paths)
	if err != nil {
		return err
	}
	opts.Session, opts.Agent, err = instruct.SessionOf(seeds, "")
	if err != nil {
		log.Warn("clients of the port itself have no capability", "why", err)
	}
	opts.Session, opts.Agent = firstOf(opts.Session, ids.New(ids.Sidecar)), firstOf(opts.Agent, c.AgentID())
	return nil
}

// authority settles what decides: the Authority that was started beside this
// Sidecar, the configured one, or policies.
func (o *sidecarOptions) authority(opts *sidecar.Options, c *config.Config, place instruct.Place) error {
	opts.AuthorityURL = firstOf(o.authorityURL, c.Sidecar.Authority.URL)
	var err error
	if opts.AuthorityURL == "" {
		if opts.Policies, err = policy.Posture("dev"); err == nil && c.Sidecar.Policy.Dir != "" {
			if opts.Policies, err = c.ReadPolicies(c.Sidecar.Policy.Dir); err != nil {
				err = fault.Wrap(err, "ConfigValidation", "the policies can't be read", "put a .cedar file into [sidecar.policy] dir, or leave it out to use the dev posture")
			}
		}
		return err
	}
	var key []byte
	if key, err = instruct.AuthorityKey(c); err != nil {
		return err
	}
	if len(key) != ed25519.PublicKeySize {
		return fault.New("ConfigValidation", "the Authority's public key is not 32 bytes long", "set public_key_path in [sidecar.authority] to the .pub file beside the Authority's key")
	}
	opts.AuthorityKey = key
	if err := instruct.Uplink(opts.Start, c, place); err != nil {
		return err
	}
	opts.Start.Uplink.ConnectAddr = firstOf(o.connect, opts.Start.Uplink.ConnectAddr)
	return nil
}

// useKeptCA gives a Sidecar that stands alone its certificate authority, which is
// made at its first start.
func useKeptCA(s *control.SidecarStart, c *config.Config, place instruct.Place) error {
	if !s.Intercept.Enabled {
		return nil
	}
	kept, err := instruct.KeptCA(c, place.StateDir)
	if err != nil {
		return err
	}
	return instruct.UseCA(s, kept)
}
