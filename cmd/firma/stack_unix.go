//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"firma/internal/config"
	"firma/internal/fault"
	"firma/internal/ids"
	"firma/internal/marker"
	"firma/internal/stack"
)

// stackCommands keep a Sidecar running as a service, and tell which there are.
func (o *sidecarOptions) stackCommands() []*cobra.Command {
	return []*cobra.Command{o.startCommand(), o.stopCommand(), o.statusCommand()}
}

func (o *sidecarOptions) startCommand() *cobra.Command {
	var detach bool
	var report int
	cmd := &cobra.Command{
		Use: "start", Short: "Keep a Sidecar, and its Authority, running", Args: arguments(cobra.NoArgs),
		Long: `Start an Authority, if the configuration has an [authority] section and no url in
[sidecar.authority], then a Sidecar, and keep both until SIGINT or SIGTERM. When
one of them ends, both are ended. One stack runs for each state directory; its
logs, process ids and addresses are kept there (docs/sidecar.md).

Exit status: 0 after a signal, or once --detach has started it; 2 when an address
or the state directory is in use; 1 for any other failure. A failed start leaves
nothing running.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if detach {
				return busy(o.startDetached(cmd))
			}
			return busy(reported(report, func(r *reporter) error { return o.startHere(cmd.Context(), r) }))
		},
	}
	cmd.Flags().BoolVar(&detach, "detach", false, "return once it runs, and leave it running")
	inherited(cmd, &report, "report-fd")
	return cmd
}

// busy gives status 2 to what is in use already.
func busy(err error) error {
	switch fault.NameOf(err) {
	case "StackRunning", "SidecarListenFailed", "AuthorityListenFailed":
		report(os.Stderr, err)
		return exitError(2)
	}
	return err
}

// stack settles what is to be kept running.
func (o *sidecarOptions) stack() (stack.Options, *settings, error) {
	s, err := o.settings()
	if err != nil {
		return stack.Options{}, nil, err
	}
	local := s.cfg.Authority != nil && s.cfg.Sidecar.Authority.URL == ""
	if !local {
		if err := needSection(s.cfg); err != nil {
			return stack.Options{}, nil, err
		}
	}
	return stack.Options{
		StateDir: s.state, Config: s.cfg.Path, Authority: local,
		Drain: s.cfg.Sidecar.Interceptor.DrainTimeout.Or(config.DefaultDrainTimeout),
		Env:   append(os.Environ(), o.log.childEnv(s.cfg.Sidecar.Log.Level)...),
	}, s, nil
}

func (o *sidecarOptions) startHere(ctx context.Context, r *reporter) error {
	opts, _, err := o.stack()
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP) // a terminal that closes ends nothing
	if opts.Log, err = o.log.openInfo("sidecar", os.Stderr); err != nil {
		return err
	}
	opts.Ready = r.ready
	return stack.Run(ctx, opts)
}

func (o *sidecarOptions) startDetached(cmd *cobra.Command) error {
	opts, s, err := o.stack()
	if err != nil {
		return err
	}
	r, err := stack.Detach(cmd.Context(), s.state, opts.Env, []string{"sidecar", "start", "-c", s.cfg.Path, "--state-dir", s.state})
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Sidecar on %s, health on %s\nend it with: firma sidecar stop\n", r.Listen, r.Health)
	return nil
}

func (o *sidecarOptions) stopCommand() *cobra.Command {
	var timeout int
	cmd := &cobra.Command{
		Use: "stop", Short: "End what start keeps running", Args: arguments(cobra.NoArgs),
		Long: `End the Sidecar, the supervisor and the Authority of the state directory, in this
order. What does not end within the timeout has its calls cut, and is killed if
that does not help.

Exit status: 0 when nothing is running any more, 2 when something could not be
ended.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			state, err := config.StateDir(here(""), o.stateDir)
			if err == nil && timeout < 0 {
				err = fault.New(fault.ArgumentInvalid, "--timeout can't be negative", "give seconds, as in --timeout 2")
			}
			if err == nil {
				err = stop(cmd, state, time.Duration(timeout)*time.Second)
			}
			if err != nil {
				report(cmd.ErrOrStderr(), err)
				return exitError(2)
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&timeout, "timeout", 2, "`SECONDS` each may take to end by itself (default 2)")
	return cmd
}

func stop(cmd *cobra.Command, state string, timeout time.Duration) error {
	done, err := stack.Stop(state, timeout)
	for _, p := range done {
		how := "ended"
		if p.Killed {
			how = "killed"
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s (pid %d) %s\n", p.Name, p.PID, how)
	}
	if err == nil && len(done) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "nothing is running in", state)
	}
	return err
}

// statusOptions are the flags of firma sidecar status.
type statusOptions struct {
	sandbox      string
	json, daemon bool
}

func (o *sidecarOptions) statusCommand() *cobra.Command {
	var st statusOptions
	cmd := &cobra.Command{
		Use: "status", Short: "List the Sidecars of runs, or what start keeps running", Args: arguments(cobra.NoArgs),
		Long: `List the Sidecars of this account's runs. A Sidecar is running, unhealthy (there,
but stopped or not accepting connections), stopped, or unknown (what is written
about it can't be read); one that stopped is listed once more.

Exit status: 0 when all that is listed is running; 1 when something is not; 2 when
the list can't be made.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			state, err := config.StateDir(here(""), o.stateDir)
			ok := false
			if err == nil {
				ok, err = st.print(cmd, state)
			}
			switch {
			case err != nil:
				report(cmd.ErrOrStderr(), err)
				return exitError(2)
			case !ok:
				return exitError(1)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&st.sandbox, "sandbox-id", "", "`ID` only this run's")
	f.BoolVar(&st.json, "json", false, "print JSON")
	f.BoolVar(&st.daemon, "daemon", false, "list what start keeps running instead")
	return cmd
}

func (s *statusOptions) print(cmd *cobra.Command, state string) (ok bool, err error) {
	if s.sandbox != "" && !ids.Valid(ids.Sandbox, s.sandbox) {
		return false, fault.New(fault.ArgumentInvalid, fmt.Sprintf("%.64q is not a sandbox id", s.sandbox), "take it from `firma sidecar status`: sbx_ and 26 characters")
	}
	if s.daemon {
		return s.services(cmd, state)
	}
	runs, err := stack.Runs(state, s.sandbox, time.Now())
	if err != nil {
		return false, fault.Wrap(err, "StateDirUnreadable", "the runs in "+state+" can't be listed", "check its owner and mode")
	}
	ok = true
	for _, r := range runs {
		ok = ok && r.State == marker.Running
	}
	if s.json {
		return ok, printJSON(cmd, runs)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%-30s %-16s %8s %-9s %-14s %s\n", "SANDBOX_ID", "AGENT", "PID", "STATE", "LISTEN", "UPTIME")
	for _, r := range runs {
		fmt.Fprintf(cmd.OutOrStdout(), "%-30s %-16s %8s %-9s %-14s %s\n", r.SandboxID, r.AgentID, pid(r.PID), r.State, firstOf(r.Listen, "-"), uptime(r.PID, r.UptimeSecs))
	}
	return ok, nil
}

func (s *statusOptions) services(cmd *cobra.Command, state string) (ok bool, err error) {
	list := stack.Services(state, time.Now())
	ok = true
	for _, c := range list {
		ok = ok && c.State == marker.Running
	}
	if s.json {
		return ok, printJSON(cmd, list)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%-11s %8s %-9s %-22s %s\n", "COMPONENT", "PID", "STATE", "LISTEN", "UPTIME")
	for _, c := range list {
		fmt.Fprintf(cmd.OutOrStdout(), "%-11s %8s %-9s %-22s %s\n", c.Component, pid(c.PID), c.State, firstOf(c.Listen, "-"), uptime(c.PID, c.UptimeSecs))
	}
	return ok, nil
}

func printJSON(cmd *cobra.Command, v any) error {
	enc := json.NewEncoder(cmd.OutOrStdout())
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func pid(p *int) string {
	if p == nil {
		return "-"
	}
	return fmt.Sprint(*p)
}

// uptime is HH:MM:SS; "-" for what is gone.
func uptime(p *int, secs int64) string {
	if p == nil {
		return "-"
	}
	return fmt.Sprintf("%02d:%02d:%02d", secs/3600, secs/60%60, secs%60)
}
