package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"firma/internal/authority"
	"firma/internal/config"
	"firma/internal/fault"
	"firma/internal/policy"
	"firma/internal/wire"
)

// authorityOptions are what all commands of firma authority take, before or after
// their name.
type authorityOptions struct {
	config   string
	stateDir string
	control  int // inherited descriptor; only firma run sets it
	report   int // likewise; only firma sidecar start sets it
	log      *logging
}

const authorityLong = `Serve the control plane until SIGINT or SIGTERM: sign capabilities, stream
policies and revocations to Sidecars. It needs a configuration with an
[authority] section (docs/authority.md).

Its commands work offline, with the same section.

Exit status: 0 after a signal; 1 when it could not start.`

const authorityExample = `  firma authority -c firma.toml
  firma authority generate-key -o firma-authority.key
  firma authority -c firma.toml issue --agent-id local-dev --session-id s-1 \
      --action communication.external.send --output capability.toml
  firma authority -c firma.toml revocations add ctok_01k5wq3v9xe8tsv5m2c7n4h6ja`

func authorityCommand(log *logging) *cobra.Command {
	o := &authorityOptions{log: log}
	cmd := &cobra.Command{
		Use: "authority", Short: "Run the control plane, or work on its files", Long: authorityLong, Example: authorityExample,
		Args: noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.serve(cmd.Context()) },
	}
	f := cmd.PersistentFlags()
	f.StringVarP(&o.config, "config", "c", "", "`FILE` configuration with an [authority] section (default: discovered)")
	f.StringVar(&o.stateDir, "state-dir", "", "`DIR` where keys and the witness file are kept")
	inherited(cmd, &o.control, "control-fd")
	inherited(cmd, &o.report, "report-fd")
	cmd.AddCommand(o.generateKeyCommand(), o.issueCommand(), o.revocationsCommand())
	return cmd
}

// noCommand refuses an argument where a command could stand.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return unknownCommand(cmd, args[0])
	}
	return nil
}

// inherited adds a hidden flag for a descriptor that another firma process hands
// over.
func inherited(cmd *cobra.Command, fd *int, name string) {
	cmd.Flags().IntVar(fd, name, -1, "inherited descriptor")
	_ = cmd.Flags().MarkHidden(name)
}

func (o *authorityOptions) serve(ctx context.Context) error {
	if o.control >= 3 {
		return o.serveRun(ctx, os.NewFile(uintptr(o.control), "control"))
	}
	return reported(o.report, func(r *reporter) error { return o.serveStanding(ctx, r) })
}

func (o *authorityOptions) serveStanding(ctx context.Context, r *reporter) error {
	s, err := readSettings(o.config, o.stateDir)
	if err != nil {
		return err
	}
	cfg, err := standing(s)
	if err != nil {
		return err
	}
	if cfg.Log, err = o.log.openInfo("authority", os.Stderr); err != nil {
		return err
	}
	cfg.Log.Info("config loaded", "path", s.cfg.Path)
	if err := usualKey(s.cfg.Authority); err != nil {
		return err
	}
	cfg.Ready = func(rep authority.Report) { r.ready(startupReport{Listen: rep.Addr, PublicKey: rep.PublicKey}) }
	a, err := authority.New(cfg)
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

// standing is the configuration of an Authority that serves many runs.
func standing(s *settings) (authority.Config, error) {
	a, err := s.cfg.RequireAuthority()
	if err != nil {
		return authority.Config{}, err
	}
	key, err := a.PreSharedKey(s.state, os.Getenv)
	if err != nil {
		return authority.Config{}, err
	}
	c, err := offline(a)
	if err != nil {
		return c, err
	}
	c.Listen = firstOf(a.ListenAddr, config.DefaultAuthorityListen)
	c.PreSharedKey, c.Anonymous = wire.PreSharedKey(key), key == ""
	c.BundleTTL = a.BundleTTL.Or(config.DefaultBundleTTL)
	c.RevocationFile = a.RevocationFile
	c.WitnessFile = filepath.Join(s.state, "authority", "witness.jsonl")
	if c.PolicyDir = a.PolicyDir; c.PolicyDir == "" {
		if c.Policies, err = policy.Posture("dev"); err != nil {
			return c, err
		}
	}
	return c, os.MkdirAll(filepath.Dir(c.WitnessFile), 0o700)
}

// offline is the part of the configuration that decides what a capability holds.
func offline(a *config.Authority) (authority.Config, error) {
	c := authority.Config{KeyFile: a.KeyFile, MaxTTL: a.MaxTTL.Or(config.DefaultMaxTTL), IssuancePolicyDir: a.IssuancePolicyDir}
	if c.IssuancePolicyDir == "" {
		c.IssuancePolicies = policy.Issuance()
	}
	if a.SchemaPath == "" {
		return c, nil
	}
	var err error
	if c.Schema, err = os.ReadFile(a.SchemaPath); err != nil {
		return c, fault.Wrap(err, "ConfigValidation", "the schema can't be read", "check schema_path in [authority]")
	}
	return c, nil
}

// table returns the [authority] section of the configuration.
func (o *authorityOptions) table() (*config.Authority, error) {
	s, err := readSettings(o.config, o.stateDir)
	if err != nil {
		return nil, err
	}
	return s.cfg.RequireAuthority()
}
