package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"firma/internal/config"
	"firma/internal/fault"
	"firma/internal/launch"
	"firma/internal/mapping"
	"firma/internal/profile"
	"firma/internal/sandbox"
)

// run settles the options and hands over to the launcher. The status is firma
// run's, whatever the error.
func (o *runOptions) run(ctx context.Context, args []string) (int, error) {
	code, err := o.launch(ctx, args)
	return code, o.orLocal(err)
}

// orLocal adds to the fix of what somebody else's part is missing for that the run can
// start its own, unless --no-autostart forbids that.
func (o *runOptions) orLocal(err error) error {
	var f *fault.Error
	if o.noAutostart || !errors.As(err, &f) {
		return err
	}
	instead := map[string]string{
		"SidecarUnreachable": "--sidecar local", "SidecarAccessDenied": "--sidecar local", "SidecarTakesNoRuns": "--sidecar local",
		"AuthorityUnreachable": "--authority local",
	}[f.Name]
	if instead == "" {
		return err
	}
	return fault.Wrap(f.Err, f.Name, f.Text, f.Fix+", or use "+instead)
}

func (s *settlement) orLocal(fix, instead string) string {
	if s.authority.NoAutostart {
		return fix
	}
	return fix + ", or use " + instead
}

func (o *runOptions) launch(ctx context.Context, args []string) (int, error) {
	std := launch.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	if err := o.check(args); err != nil {
		return launch.ExitFailure, err
	}
	s, err := o.settle(args)
	if err != nil {
		return launch.ExitFailure, err
	}
	if o.printConfig {
		return launch.PrintEffective(std.Out, s.options, s.authority)
	}
	if s.options.Authority, err = s.chooseAuthority(std); err != nil {
		return launch.ExitFailure, err
	}
	if err := s.probe(ctx); err != nil {
		return launch.ExitFailure, err
	}
	return launch.Run(ctx, s.options, std)
}

// check refuses a command line that can't be meant, whatever the configuration.
func (o *runOptions) check(args []string) error {
	if len(args) == 0 && !o.printConfig {
		return fault.New("MissingCommand", "there is no command to run", "name it after --, as in: firma run -- curl https://example.com")
	}
	if _, set := os.LookupEnv("FIRMA_RUN_SANDBOX_ID"); set {
		return fault.New("ReservedSandboxIdEnvironment", "FIRMA_RUN_SANDBOX_ID is set: firma run does not run inside a firma sandbox", "run it on the host, or unset the variable if this is the host")
	}
	authority := launch.AuthorityChoice{Flag: o.authority, NoAutostart: o.noAutostart, Config: &config.Config{}}
	if o.authority != "" {
		if _, err := authority.Configured(); err != nil {
			return err
		}
	}
	if o.sidecar != "" {
		if _, err := (&launch.SidecarChoice{Flag: o.sidecar, NoAutostart: o.noAutostart}).Choose(); err != nil {
			return err
		}
	}
	for _, a := range o.allow {
		if _, err := mapping.Allow(a); err != nil {
			return err
		}
	}
	if o.startupTimeout < 0 {
		return fault.New(fault.ArgumentInvalid, fmt.Sprintf("--sidecar-startup-timeout-secs %d is no time to wait", o.startupTimeout), "give a number of seconds; 0 is the default, 10")
	}
	return launch.CheckBackend(o.backend)
}

// settlement is a run's options, but for the Authority, which may have to be asked
// for.
type settlement struct {
	options   launch.Options
	authority launch.AuthorityChoice
}

func (o *runOptions) settle(args []string) (*settlement, error) {
	where, err := o.where()
	if err != nil {
		return nil, err
	}
	cfg, err := o.configuration(where)
	if err != nil {
		return nil, err
	}
	prof, patch, err := o.profileOf(cfg)
	if err != nil {
		return nil, err
	}
	log, sink, err := o.log.open("run", os.Stderr)
	if err != nil {
		return nil, err
	}
	if cfg.Path != "" {
		log.Info("config resolved", "path", cfg.Path, "source", cfg.Source)
	}
	s := &settlement{authority: launch.AuthorityChoice{Flag: o.authority, NoAutostart: o.noAutostart, Config: cfg, Where: where}}
	s.options = launch.Options{
		Command: args, Again: again(os.Args), Profile: prof, Config: cfg, Capability: patch.Capability, LocalExec: patch.LocalExecGate, Backend: firstOf(o.backend, patch.Backend, launch.Bwrap),
		AuthorityProfile: o.authorityProfile, Allow: o.allow, Quiet: o.quiet,
		Seccomp:     seccompOf(patch),
		CATrustMode: patch.CATrustMode,
		Transparent: patch.Transparent == nil || *patch.Transparent,
		StateDir:    where.State, StartupTimeout: startupTimeout(o.startupTimeout),
		Log: log, LogSink: sink, ChildEnv: o.log.childEnv(cfg.Sidecar.Log.Level),
	}
	if err := launch.CheckBackend(s.options.Backend); err != nil {
		return nil, err
	}
	sidecar := launch.SidecarChoice{Flag: o.sidecar, NoAutostart: o.noAutostart, Persisted: firstOf(os.Getenv("FIRMA_SIDECAR_ENDPOINT"), patch.SidecarEndpoint)}
	if s.options.Sidecar, err = sidecar.Choose(); err != nil && fault.NameOf(err) != "MissingSidecar" {
		return nil, err
	}
	if s.options.Sidecar == (launch.Endpoint{}) { // somebody else's has an Authority of its own
		if _, aerr := s.authority.Configured(); aerr != nil {
			return nil, aerr
		}
	}
	if err != nil {
		return nil, err
	}
	return s, o.capabilities(&s.options, patch.Capability.Source.Path)
}

func (o *runOptions) where() (config.Where, error) {
	dir, err := os.Getwd()
	if err != nil {
		return config.Where{}, fault.Wrap(err, "WorkspaceForbidden", "the working directory is gone", "cd into an existing directory")
	}
	home, _ := os.UserHomeDir()
	w := config.Where{Explicit: o.config, Dir: dir, Home: home, Getenv: os.Getenv}
	w.State, err = config.StateDir(w, o.stateDir)
	return w, err
}

// configuration is what was discovered, with the Sidecar's table from a template
// if one is named.
func (o *runOptions) configuration(w config.Where) (*config.Config, error) {
	cfg, err := config.Discover(w)
	if err != nil {
		return nil, err
	}
	if template := firstOf(o.sidecarConfig, os.Getenv("FIRMA_SIDECAR_CONFIG_FILE")); template != "" {
		err = cfg.UseTemplate(template)
	}
	return cfg, err
}

// profileOf joins the built-in profile, the configuration and the flags.
func (o *runOptions) profileOf(cfg *config.Config) (profile.Profile, config.Patch, error) {
	p := profile.Profile{Name: firstOf(o.profile, cfg.Run.Profile, profile.Generic)}
	base, patch, err := cfg.Profile(p.Name)
	if err != nil {
		return p, patch, err
	}
	p.Base, p.EnvSet, p.EnvPass, p.EnvAllowSecret = base, patch.EnvSet, patch.EnvPassthrough, patch.EnvAllowSecret
	p.IdentityMode = firstOf(o.identityMode, strings.ReplaceAll(patch.IdentityMode, "_", "-"))
	if patch.Mounts != nil {
		p.Mounts = []sandbox.Mount{}
	}
	for _, m := range patch.Mounts {
		p.Mounts = append(p.Mounts, sandbox.Mount{Source: m.Source, Target: m.Target, Writable: !m.ReadOnly})
	}
	return p, patch, p.Check()
}

func (s *settlement) chooseAuthority(std launch.Streams) (string, error) {
	if s.options.Sidecar != (launch.Endpoint{}) {
		return "", nil // somebody else's Sidecar has its Authority
	}
	chosen, err := s.authority.Choose(std)
	if err == nil && chosen != launch.Local && len(s.options.Allow) > 0 {
		err = fault.New("AllowNeedsLocalAuthority", "--allow adds a permit, and "+chosen+" decides its own policies",
			s.orLocal("ask whoever runs that Authority", "--authority local"))
	}
	return chosen, err
}

// probe asks whether what the run needs and does not start is there.
func (s *settlement) probe(ctx context.Context) error {
	if s.options.Sidecar == (launch.Endpoint{}) {
		if s.options.Authority == launch.Local {
			return nil
		}
		return launch.ProbeAuthority(ctx, s.options.Authority, s.options.Config.Sidecar.Authority.ConnectAddr)
	}
	if err := launch.Probe(ctx, s.options.Sidecar); err != nil {
		return err
	}
	if len(s.options.Allow) > 0 {
		return fault.New("AllowNeedsLocalAuthority", "--allow adds a mapping rule and a permit, and the Sidecar at "+s.options.Sidecar.String()+" has its own",
			s.orLocal("ask whoever runs that Sidecar", "--sidecar local"))
	}
	if s.authority.Flag != "" && !s.options.Quiet {
		fmt.Fprintln(os.Stderr, "firma: note: --authority is not used: the Sidecar at", s.options.Sidecar.String(), "follows one of its own")
	}
	return nil
}

// capabilities settles the run's pre-staged capability and session.
func (o *runOptions) capabilities(opts *launch.Options, configured string) error {
	var err error
	if opts.SessionID, err = sessionOverride(os.Getenv); err != nil {
		return err
	}
	if file := firstOf(o.capability, configured); file != "" {
		opts.CapabilityFile, err = filepath.Abs(file)
	}
	return err
}

// sessionOverride is FIRMA_RUN_SESSION_ID, which FIRMA_RUN_REQUIRE_SESSION_ID makes
// mandatory.
func sessionOverride(getenv func(string) string) (string, error) {
	id := getenv("FIRMA_RUN_SESSION_ID")
	if id == "" && truthy(getenv("FIRMA_RUN_REQUIRE_SESSION_ID")) {
		return "", fault.New("ConfigValidation", "FIRMA_RUN_REQUIRE_SESSION_ID is set, and FIRMA_RUN_SESSION_ID is not", "set FIRMA_RUN_SESSION_ID to the session of this run")
	}
	if len(id) > 256 || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fault.New("ConfigValidation", "FIRMA_RUN_SESSION_ID is not a session", "use 1 to 256 printable characters without spaces")
	}
	return id, nil
}

func truthy(s string) bool {
	switch strings.ToLower(s) {
	case "1", "true", "yes", "on":
		return true
	}
	return false
}

// startupTimeout: 0 means the default (contract).
func startupTimeout(secs int) time.Duration {
	if secs <= 0 {
		secs = 10
	}
	return time.Duration(secs) * time.Second
}
