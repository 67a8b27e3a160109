package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"firma/internal/audit"
	"firma/internal/config"
	"firma/internal/fault"
)

// auditOptions are the flags of firma audit.
type auditOptions struct {
	key      string
	stateDir string
	json     bool
}

func auditCommand() *cobra.Command {
	cmd := group("audit", "Verify what a run recorded", auditVerifyCommand(), auditProveCommand())
	cmd.Long = `Each run has a log, one JSON object a line, hash-chained and signed. Its path is
printed at the end of the run (docs/audit-format.md).`
	cmd.Example = "  firma audit verify\n  firma audit verify LOG --key audit.pub.pem\n  firma audit prove LOG 7"
	return cmd
}

func (o *auditOptions) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.key, "key", "", "`FILE` public key of the log, PEM (default: the state directory's)")
	cmd.Flags().StringVar(&o.stateDir, "state-dir", "", "`DIR` where audit logs and keys are kept")
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON")
}

func auditVerifyCommand() *cobra.Command {
	var o auditOptions
	cmd := &cobra.Command{
		Use:   "verify [LOG...]",
		Short: "Find any event that was edited, removed, reordered or cut off",
		Long: `Check every event against its successor, the Merkle root and the signed
checkpoints. Without a LOG, all logs of the state directory are checked, and
logs that were removed whole are found.

Exit status: 0 when every log is sealed and unchanged, 1 when something was
changed (each finding is named), 2 when a log can't be read, 3 when nothing was
changed but a log has no final checkpoint: it is in use, or its writer was
killed.`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.verify(cmd, args) },
	}
	o.flags(cmd)
	return cmd
}

func (o *auditOptions) verify(cmd *cobra.Command, logs []string) error {
	state, err := o.state()
	if err != nil {
		return err
	}
	key, err := o.publicKey(state)
	if err != nil {
		return err
	}
	reports, err := verifyAll(logs, audit.VerifyOptions{Key: key}, filepath.Join(state, "audit"))
	if err != nil {
		report(cmd.ErrOrStderr(), err)
		return exitError(2)
	}
	code := 0
	for i := range reports {
		code = worse(code, &reports[i])
		if !o.json {
			fmt.Fprint(cmd.OutOrStdout(), strings.TrimRight(reports[i].Text(), "\n")+"\n")
		}
	}
	if len(reports) == 0 {
		fmt.Fprintln(cmd.ErrOrStderr(), "firma: note: there are no logs in", filepath.Join(state, "audit"))
		reports = []audit.Report{} // null is no list
	}
	if o.json {
		if err := json.NewEncoder(cmd.OutOrStdout()).Encode(reports); err != nil {
			return err
		}
	}
	if code != 0 {
		return exitError(code)
	}
	return nil
}

// worse is the exit status for one more report: a change outweighs a missing seal.
func worse(code int, r *audit.Report) int {
	switch {
	case code == 1 || !r.OK():
		return 1
	case r.Status == audit.StatusUnsealed:
		return 3
	}
	return code
}

func auditProveCommand() *cobra.Command {
	var o auditOptions
	cmd := &cobra.Command{
		Use:   "prove LOG EVENT",
		Short: "Print the proof that an event, by id or number, is in a log",
		Args:  arguments(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := audit.Prove(args[0], args[1])
			if err != nil {
				return err
			}
			enc := json.NewEncoder(cmd.OutOrStdout())
			enc.SetIndent("", "  ")
			return enc.Encode(p)
		},
	}
	o.flags(cmd)
	return cmd
}

func (o *auditOptions) state() (string, error) {
	home, _ := os.UserHomeDir()
	return config.StateDir(config.Where{Home: home, Getenv: os.Getenv}, o.stateDir)
}

func (o *auditOptions) publicKey(state string) (key any, err error) {
	path := o.key
	if path == "" {
		path = filepath.Join(state, "keys", "audit.key"+audit.PublicSuffix)
	}
	k, err := audit.LoadPublicKey(path)
	var missing *fault.Error
	if errors.As(err, &missing) && missing.Name == "AuditKeyMissing" {
		return nil, fault.Wrap(missing.Err, missing.Name, missing.Text, "name it with --key")
	}
	if err != nil {
		return nil, fault.Wrap(err, "AuditKeyMissing", "the public key to verify with can't be read", "name it with --key")
	}
	return k, nil
}

// verifyAll checks the named logs, or all of dir.
func verifyAll(logs []string, o audit.VerifyOptions, dir string) ([]audit.Report, error) {
	if len(logs) == 0 {
		o.Path, o.CheckpointDir = dir, audit.KeptIn(dir, dir)
		return audit.VerifyDir(o)
	}
	var reports []audit.Report
	for _, l := range logs {
		o.Path, o.CheckpointDir = l, audit.KeptIn(dir, l)
		r, err := audit.Verify(o)
		if err != nil {
			return nil, err
		}
		reports = append(reports, r)
	}
	return reports, nil
}
