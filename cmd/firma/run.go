package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// runOptions are the flags of firma run.
type runOptions struct {
	profile          string
	config           string
	authority        string
	authorityProfile string
	sidecar          string
	stateDir         string
	allow            []string
	startupTimeout   int
	quiet            bool
	logFilter        string
}

const runLong = `Run a command in a sandbox whose only way out is the policy Sidecar.

Everything after -- is the command and its arguments. It sees loopback only, a
private home and /tmp, an environment built from nothing, and the parts of the
file system that the profile shows. Each of its calls is allowed or refused by
policy and recorded in a signed log.

Exit status: the command's own; 128+n when signal n ended it; 125 when firma
failed; 126 when the command can't be executed; 127 when it is not found.`

const runExample = `  firma run --authority local -- curl https://example.com
  firma run --authority local --allow example.com -- curl https://example.com
  firma run --profile codex -- codex`

func runCommand() *cobra.Command {
	var o runOptions
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
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.SortFlags = false
	f.StringVar(&o.profile, "profile", "", "what the sandbox shows: generic (default: system and current\ndirectory, read-only) or codex (workspace writable)")
	f.StringVar(&o.authority, "authority", "", "local: a Mini Authority for this run; or the URL of one")
	f.StringVar(&o.authorityProfile, "authority-profile", "developer", "what the local Mini Authority grants; developer only")
	f.StringVar(&o.sidecar, "sidecar", "", "local (default): a Sidecar for this run")
	f.StringArrayVar(&o.allow, "allow", nil, "allow HOST[:PORT] for this run; repeatable; recorded")
	f.StringVar(&o.config, "config", "", "configuration file (default: discovered)")
	f.StringVar(&o.stateDir, "state-dir", "", "where audit logs and keys are kept")
	f.IntVar(&o.startupTimeout, "sidecar-startup-timeout-secs", 10, "longest wait for the Sidecar, in seconds")
	f.BoolVar(&o.quiet, "quiet", false, "no summary at the end")
	f.StringVar(&o.logFilter, "log-filter", "", "what is logged to stderr: error, warn, info, debug")
	cmd.SetUsageTemplate(strings.ReplaceAll(cmd.UsageTemplate(), "FlagUsages", "FlagUsagesWrapped 78"))
	return cmd
}
