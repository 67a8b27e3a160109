package main

import "github.com/spf13/cobra"

// runOptions are the flags of firma run.
type runOptions struct {
	profile          string
	config           string
	authority        string
	authorityProfile string
	sidecar          string
	sidecarConfig    string
	capability       string
	backend          string
	identityMode     string
	noAutostart      bool
	printConfig      bool
	stateDir         string
	allow            []string
	startupTimeout   int
	quiet            bool
	log              *logging
}

const runLong = `Run a command in a sandbox whose only way out is the policy Sidecar.

Everything after -- is the command and its arguments. It sees loopback only, a
private home and /tmp, an environment built from nothing, and the parts of the
file system that the profile shows. Each of its calls is allowed or refused by
policy and recorded in a signed log.

Exit status: the command's own; 128+n when signal n ended it; 125 when firma
failed; 126 when the command can't be executed; 127 when it is not found.`

const runExample = `  # see what happens: refusals name the command that would allow them
  firma run -- curl https://example.com
  firma run --allow example.com -- curl https://example.com

  # a coding agent, which may write to the project
  firma run --profile codex -- codex

  # what a run would be, without running anything
  firma run --profile codex --print-effective-config

  # in CI: start nothing beside the command, or fail
  firma run --no-autostart --sidecar tcp://127.0.0.1:8080 -- make test`

func runCommand(log *logging) *cobra.Command {
	o := runOptions{log: log}
	cmd := &cobra.Command{
		Use:     "run [flags] -- COMMAND [ARGS...]",
		Short:   "Run a command in a sandbox behind the Sidecar",
		Long:    runLong,
		Example: runExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			code, err := o.run(cmd.Context(), args)
			if err != nil {
				report(cmd.ErrOrStderr(), err)
			}
			if code != 0 {
				return exitError(code)
			}
			return nil
		},
	}
	o.flags(cmd)
	return cmd
}

func (o *runOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.SortFlags = false
	defer o.groups(cmd)
	f.StringVar(&o.profile, "profile", "", "`NAME` what the sandbox shows: generic (default: the system and the current directory, read-only), codex (the workspace, writable) or a profile of the configuration")
	f.StringVar(&o.config, "config", "", "`FILE` configuration, TOML or YAML; may hold profiles and defaults only (default: discovered)")
	f.StringVar(&o.backend, "backend", "", "`NAME` what confines the command: bwrap (default); vz, wsl2 and firecracker are not built")
	f.StringVar(&o.identityMode, "identity-mode", "", "`MODE` who it runs as inside: sandbox-user (default: agent, 1000) or host-user (your name and numbers)")
	f.StringVar(&o.authority, "authority", "", "`local|URL` a Mini Authority for this run, or one that runs elsewhere (default: configured, else asked)")
	f.StringVar(&o.authorityProfile, "authority-profile", "developer", "`NAME` what a local Mini Authority grants (default developer, the only one)")
	f.StringVar(&o.sidecar, "sidecar", "", "`local|URL` a Sidecar for this run (default), or one that runs at tcp://HOST:PORT or unix:///PATH")
	f.StringVar(&o.sidecarConfig, "sidecar-config", "", "`FILE` whose [sidecar] table the Sidecar gets (or FIRMA_SIDECAR_CONFIG_FILE; default: the configuration)")
	f.IntVar(&o.startupTimeout, "sidecar-startup-timeout-secs", 10, "`N` longest wait for the start in seconds (default 10)")
	f.BoolVar(&o.noAutostart, "no-autostart", false, "start neither Authority nor Sidecar; fail if one is missing")
	f.StringVar(&o.capability, "capability-file", "", "`FILE` the run's capability, issued before; it stays on the host (default: the Authority is asked for one)")
	f.StringArrayVar(&o.allow, "allow", nil, "`HOST[:PORT]` allow this destination for this run; repeatable; recorded")
	f.BoolVar(&o.printConfig, "print-effective-config", false, "print as JSON what the run would be, and start nothing")
	f.StringVar(&o.stateDir, "state-dir", "", "`DIR` where audit logs and keys are kept")
	f.BoolVar(&o.quiet, "quiet", false, "print no notes and no summary")
}

// groups are the headings of the help, in the order of the questions a caller has.
func (o *runOptions) groups(cmd *cobra.Command) {
	cmd.InitDefaultHelpFlag()
	f := cmd.Flags()
	under(f, "What the command gets", "profile", "config", "backend", "identity-mode")
	under(f, "Who decides about its calls", "authority", "authority-profile", "sidecar", "sidecar-config", "sidecar-startup-timeout-secs", "no-autostart", "capability-file", "allow")
	under(f, "What is kept and shown", "print-effective-config", "state-dir", "quiet", "help")
}
