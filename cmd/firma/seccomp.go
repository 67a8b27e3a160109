package main

import "github.com/spf13/cobra"

// seccompOptions are the flags of firma seccomp.
type seccompOptions struct {
	config      string
	profile     string
	policy      string
	artifactDir string
	stateDir    string
	source      bool
	json        bool
}

func seccompCommand() *cobra.Command {
	cmd := group("seccomp", "Show, verify or compile the syscall filter", seccompShowCommand(), seccompVerifyCommand(), seccompCompileCommand())
	cmd.Long = `The syscall filter of a sandbox is compiled from a policy and kept as an artifact,
which every launch verifies (docs/seccomp.md).`
	cmd.Example = "  firma seccomp show\n  firma seccomp show --source >policy.toml\n  firma seccomp compile --policy policy.toml\n  firma seccomp verify --policy policy.toml"
	return cmd
}

func (o *seccompOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.config, "config", "", "`FILE` configuration, TOML or YAML (default: discovered)")
	f.StringVar(&o.profile, "profile", "", "`NAME` whose filter (default: as firma run)")
	f.StringVar(&o.policy, "policy", "", "`FILE` policy source, TOML (default: the profile's, or the shipped one)")
	f.StringVar(&o.artifactDir, "artifact-dir", "", "`DIR` where artifacts are kept (default: the profile's, or seccomp-artifacts in the state directory)")
	f.StringVar(&o.stateDir, "state-dir", "", "`DIR` where audit logs and keys are kept")
}

func seccompShowCommand() *cobra.Command {
	var o seccompOptions
	cmd := &cobra.Command{
		Use: "show", Short: "Say what the filter refuses, and why", Args: arguments(cobra.NoArgs),
		Long: `Say what the filter refuses: the base, which is always on, and what the policy
adds to it; and whether its artifact would pass at a launch. Nothing is written.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.show(cmd) },
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&o.source, "source", false, "print the policy source only")
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON")
	return cmd
}

func seccompVerifyCommand() *cobra.Command {
	var o seccompOptions
	cmd := &cobra.Command{
		Use: "verify", Short: "Check the artifact as every launch does, and more", Args: arguments(cobra.NoArgs),
		Long: `Check the artifact as every launch does: owner, mode and links of each directory
and file, the metadata, the checksum, and that the filter is what the policy
compiles to. Then run it in an interpreter, and load it into the kernel for a
moment.

Exit status: 0 when a launch would use it, 1 when not: the reason and the fix are
printed.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.verify(cmd) },
	}
	o.flags(cmd)
	return cmd
}

func seccompCompileCommand() *cobra.Command {
	var o seccompOptions
	cmd := &cobra.Command{
		Use: "compile", Short: "Compile the policy and put the artifact in its place", Args: arguments(cobra.NoArgs),
		Long: `Compile the policy, try the filter in an interpreter, and put the artifact in its
place. One that is there is replaced, whatever is wrong with it: look into it
first. Directories that others can change are refused.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.compile(cmd) },
	}
	o.flags(cmd)
	return cmd
}
