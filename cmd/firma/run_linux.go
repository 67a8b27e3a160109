package main

import (
	"context"
	"errors"
	"os"
	"time"

	"firma/internal/config"
	"firma/internal/fault"
	"firma/internal/launch"
	"firma/internal/mapping"
)

// run settles the options and hands over to the launcher. The status is firma
// run's, whatever the error.
func (o *runOptions) run(ctx context.Context, args []string) (int, error) {
	opts, std, err := o.finalize(args)
	if err != nil {
		return launch.ExitFailure, err
	}
	return launch.Run(ctx, opts, std)
}

func (o *runOptions) finalize(args []string) (launch.Options, launch.Streams, error) {
	std := launch.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	if len(args) == 0 {
		return launch.Options{}, std, fault.New("MissingCommand", "there is no command to run", "name it after --, as in: firma run -- curl https://example.com")
	}
	if _, set := os.LookupEnv("FIRMA_RUN_SANDBOX_ID"); set {
		return launch.Options{}, std, fault.New("ReservedSandboxIdEnvironment", "FIRMA_RUN_SANDBOX_ID is set: firma run does not run inside a firma sandbox", "run it on the host, or unset the variable if this is the host")
	}
	if o.sidecar != "" && o.sidecar != launch.Local {
		return launch.Options{}, std, fault.New("UnsupportedSidecar", "an external Sidecar ("+o.sidecar+") can't be used yet", "leave --sidecar out, or use --sidecar local")
	}
	for _, a := range o.allow {
		if _, err := mapping.Allow(a); err != nil {
			return launch.Options{}, std, fault.Wrap(err, "ArgumentInvalid", "--allow "+a+" names no destination", "write HOST or HOST:PORT, as in --allow example.com")
		}
	}
	opts, err := o.settle(args, std)
	return opts, std, err
}

func (o *runOptions) settle(args []string, std launch.Streams) (launch.Options, error) {
	dir, err := os.Getwd()
	if err != nil {
		return launch.Options{}, fault.Wrap(err, "WorkspaceForbidden", "the working directory is gone", "cd into an existing directory")
	}
	home, _ := os.UserHomeDir()
	where := config.Where{Explicit: o.config, Dir: dir, Home: home, Getenv: os.Getenv}
	cfg, err := config.Discover(where)
	if err != nil {
		return launch.Options{}, err
	}
	state, err := config.StateDir(where, o.stateDir)
	if err != nil {
		return launch.Options{}, err
	}
	log, _, err := o.log.open("run", os.Stderr)
	if err != nil {
		return launch.Options{}, err
	}
	authority, err := launch.ChooseAuthority(o.authority, cfg, std, config.UserFile(where))
	if err != nil {
		return launch.Options{}, err
	}
	if authority != launch.Local && len(o.allow) > 0 {
		return launch.Options{}, errors.Join(fault.New("AllowNeedsLocalAuthority", "--allow adds a permit, and "+authority+" decides its own policies",
			"ask whoever runs that Authority, or use --authority local"))
	}
	return launch.Options{
		Command: args, Profile: firstOf(o.profile, cfg.Run.Profile, "generic"), Config: cfg,
		Authority: authority, AuthorityProfile: o.authorityProfile, Allow: o.allow, Quiet: o.quiet,
		StateDir: state, StartupTimeout: startupTimeout(o.startupTimeout), Log: log,
	}, nil
}

// startupTimeout: 0 means the default (contract).
func startupTimeout(secs int) time.Duration {
	if secs <= 0 {
		secs = 10
	}
	return time.Duration(secs) * time.Second
}
