package main

import "github.com/spf13/cobra"

// doctorOptions are the flags of firma doctor.
type doctorOptions struct {
	config   string
	profile  string
	stateDir string
	timeout  int
	json     bool
	log      *logging
}

func doctorCommand(log *logging) *cobra.Command {
	o := doctorOptions{log: log}
	cmd := &cobra.Command{
		Use: "doctor", Short: "Try each step of a run and say what this host lacks", Args: arguments(cobra.NoArgs),
		Long: `Try each step of firma run on its own, as it would be done: bwrap, namespaces,
mounts, syscall filter, hand-over of sockets, low ports, terminal, configuration,
state directory; and in the end a real run. What fails is named as firma run
names it, with the fix. Nothing is changed.

Exit status: 0 when nothing failed, 1 when something did, 2 when the checks could
not be made.`,
		Example: "  firma doctor\n  firma doctor --profile codex --json",
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&o.config, "config", "", "`FILE` configuration, TOML or YAML (default: discovered)")
	f.StringVar(&o.profile, "profile", "", "`NAME` what the sandbox shows (default: as firma run)")
	f.StringVar(&o.stateDir, "state-dir", "", "`DIR` where audit logs and keys are kept")
	f.IntVar(&o.timeout, "timeout-ms", 500, "`N` longest wait for a Sidecar or an Authority that runs already (default 500)")
	f.BoolVar(&o.json, "json", false, "print JSON; docs/doctor.md lists the codes")
	return cmd
}
