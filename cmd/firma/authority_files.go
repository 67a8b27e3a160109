package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"firma/internal/authority"
	"firma/internal/config"
	"firma/internal/fault"
)

func (o *authorityOptions) generateKeyCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "generate-key", Short: "Make a signing key, and its public half beside it", Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := o.keyPath(output)
			if err != nil {
				return err
			}
			_, public, err := authority.GenerateKey(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "private key %s (mode 0600)\npublic key  %s\n", path, public)
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "`FILE` the private key (default: key_file of the named configuration, else firma-authority.key)")
	return cmd
}

func (o *authorityOptions) keyPath(output string) (string, error) {
	switch {
	case output != "":
		return output, nil
	case o.config == "":
		return "firma-authority.key", nil
	}
	a, err := o.table()
	if err != nil {
		return "", err
	}
	return a.KeyFile, nil
}

// usualKey makes the signing key where the configuration names none and there is
// neither half of one: an [authority] table is enough to begin with. A key that is
// named and missing is a mistake.
func usualKey(a *config.Authority) error {
	if a.KeyFile != a.UsualKeyFile {
		return nil
	}
	for _, path := range []string{a.KeyFile, config.PublicKeyBeside(a.KeyFile)} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			return nil
		}
	}
	_, public, err := authority.GenerateKey(a.KeyFile)
	if err == nil {
		fmt.Fprintf(os.Stderr, "firma: note: made a signing key, %s (mode 0600), and its public half %s\n", a.KeyFile, public)
	}
	return err
}

// issueOptions are the flags of firma authority issue.
type issueOptions struct {
	agent, session, scope, output string
	actions                       []string
	ttl                           int64
}

func (o *authorityOptions) issueCommand() *cobra.Command {
	var i issueOptions
	cmd := &cobra.Command{
		Use: "issue", Short: "Sign a capability offline and write it as a seed file", Args: arguments(cobra.NoArgs),
		Long: `Sign a capability with key_file, as far as issuance_policy_dir permits, and
write it to a file that only you can read. A Sidecar takes it from
[sidecar.capability_seed] paths, a run from firma run --capability-file.
docs/capability-tokens.md lists the scopes; mapping-rules.md the actions.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.issue(cmd, &i) },
	}
	f := cmd.Flags()
	f.StringVar(&i.agent, "agent-id", "", "`ID` the agent that may use it (required)")
	f.StringVar(&i.session, "session-id", "", "`ID` the session it works in (required)")
	f.StringArrayVar(&i.actions, "action", nil, "`CLASS` an action class it grants; repeatable (required)")
	f.StringVar(&i.scope, "resource-scope", "*", "`SCOPE` resources it covers (default *)")
	f.Int64Var(&i.ttl, "ttl-seconds", 3600, "`N` its life (default 3600), at most max_ttl")
	f.StringVarP(&i.output, "output", "o", "", "`FILE` where to write it (required)")
	return cmd
}

// check names every flag that is missing, at once.
func (i *issueOptions) check() error {
	var missing []string
	for flag, set := range map[string]bool{"--agent-id": i.agent != "", "--session-id": i.session != "", "--action": len(i.actions) > 0, "--output": i.output != ""} {
		if !set {
			missing = append(missing, flag)
		}
	}
	slices.Sort(missing)
	switch {
	case len(missing) > 0:
		return fault.New(fault.ArgumentInvalid, "required: "+strings.Join(missing, ", "), "see: firma authority issue --help")
	case i.ttl < 1 || i.ttl > int64(math.MaxInt64/time.Second):
		return fault.New(fault.ArgumentInvalid, fmt.Sprintf("--ttl-seconds %d is not a life", i.ttl), "give 1 or more; max_ttl limits it")
	}
	return nil
}

func (o *authorityOptions) issue(cmd *cobra.Command, i *issueOptions) error {
	if err := i.check(); err != nil {
		return err
	}
	a, err := o.table()
	if err != nil {
		return err
	}
	cfg, err := offline(a)
	if err != nil {
		return err
	}
	if err := usualKey(a); err != nil {
		return err
	}
	t, err := authority.Issue(cfg, authority.IssueRequest{
		AgentID: i.agent, SessionID: i.session, Scope: i.scope, Actions: i.actions, TTL: time.Duration(i.ttl) * time.Second,
	})
	if err != nil {
		return err
	}
	if err := authority.WriteSeed(i.output, t); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %s for agent %s in session %s\ngrants %s on %s until %s\n",
		i.output, t.TokenID, t.AgentID, t.SessionID, strings.Join(t.ActionSet, ", "), t.ResourceScope, t.Expiry.UTC().Format(time.RFC3339))
	if left := len(i.actions) - len(t.ActionSet); left > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "firma: warning: the issuance policies left out %d of the %d classes asked for\n", left, len(i.actions))
	}
	return nil
}

func (o *authorityOptions) revocationsCommand() *cobra.Command {
	cmd := group("revocations", "Withdraw capabilities", o.revokeCommand(), o.compactCommand())
	cmd.Aliases = []string{"revoke", "rev"}
	return cmd
}

func (o *authorityOptions) revokeCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "add TOKEN_ID", Short: "Revoke a capability", Args: arguments(cobra.ExactArgs(1)),
		Long: `Append a token id to revocation_file. Authorities that watch the file tell their
Sidecars within about a second, those of runs included.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := o.table()
			if err != nil {
				return err
			}
			if err := authority.Revoke(a.RevocationFile, args[0], reason, a.MaxTTL.Or(authority.DefaultMaxTTL), time.Now()); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s revoked in %s\n", args[0], a.RevocationFile)
			return nil
		},
	}
	cmd.Flags().StringVarP(&reason, "reason", "r", "operator-revoked", "`TEXT` why (default operator-revoked)")
	return cmd
}

func (o *authorityOptions) compactCommand() *cobra.Command {
	return &cobra.Command{
		Use: "compact", Short: "Drop revocations of capabilities that have expired", Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := o.table()
			if err != nil {
				return err
			}
			n, err := authority.CompactRevocations(a.RevocationFile, time.Now())
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d dropped from %s\n", n, a.RevocationFile)
			return nil
		},
	}
}
