package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"firma/internal/fault"
	"firma/internal/instruct"
	"firma/internal/localexec"
	"firma/internal/localexec/line"
)

// tokenOptions are the flags of firma token.
type tokenOptions struct {
	socket   string
	config   string
	stateDir string
}

const tokenLong = `A command gate with default_action = "pending_hitl" holds a launch until a
person approves it. The launch prints the token that it waits with.

An approval is for one command of one run, once. Without --socket, the gate is
looked for where [sidecar.local_exec] puts it, and among the runs under way.`

func tokenCommand() *cobra.Command {
	cmd := group("token", "Approve or refuse a command that waits at the command gate",
		tokenChangeCommand("approve", "Let the command of a token be executed once", localexec.ActionApprove),
		tokenChangeCommand("revoke", "Refuse the command of a token, approved or not", localexec.ActionRevoke))
	cmd.Long = tokenLong
	cmd.Example = "  firma token approve apr_01k5wq3v9xe8tsv5m2c7n4h6ja\n  firma token revoke apr_01k5wq3v9xe8tsv5m2c7n4h6ja"
	return cmd
}

func tokenChangeCommand(name, short, action string) *cobra.Command {
	var o tokenOptions
	cmd := &cobra.Command{
		Use:   name + " TOKEN",
		Short: short,
		Long:  short + ".\n\n" + tokenLong,
		Args:  arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			sockets, err := o.sockets()
			if err != nil {
				return err
			}
			said, err := changeToken(cmd.Context(), sockets, localexec.Manage{Action: action, TokenID: args[0]})
			if err == nil {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), said)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.socket, "socket", "", "`PATH` the gate's management socket")
	f.StringVar(&o.config, "config", "", "`FILE` configuration, TOML or YAML (default: discovered)")
	f.StringVar(&o.stateDir, "state-dir", "", "`DIR` where runs keep their sockets")
	return cmd
}

// sockets are where the token may be known: the flag's, or the configured one and
// those of the runs under way.
func (o *tokenOptions) sockets() ([]string, error) {
	if o.socket != "" {
		path, err := filepath.Abs(strings.TrimPrefix(o.socket, "unix:"))
		return []string{path}, err
	}
	s, err := readSettings(o.config, o.stateDir)
	if err != nil {
		return nil, err
	}
	return instruct.ApproveSockets(s.cfg, s.state), nil
}

// approvalWait bounds the wait for one gate.
const approvalWait = 5 * time.Second

// changeToken asks each gate for the change until one knows the token.
func changeToken(ctx context.Context, sockets []string, m localexec.Manage) (said string, err error) {
	out, err := m.Line()
	if err != nil {
		return "", fault.Wrap(err, fault.ArgumentInvalid, "that is not a token", "use the token that the waiting launch printed, such as apr_…")
	}
	var unreachable []error
	for _, path := range sockets {
		in, err := line.Exchange(ctx, line.Address{Network: "unix", Addr: path}, out, localexec.MaxResponse, approvalWait)
		if err != nil {
			unreachable = append(unreachable, fmt.Errorf("%s: %w", path, err))
			continue
		}
		answer, err := localexec.ParseManaged(in)
		if err != nil {
			return "", fault.Wrap(err, "LocalExecUnavailable", "what serves "+path+" is no command gate", "name the management socket with --socket")
		}
		if answer.Outcome != localexec.NotFound {
			return m.TokenID + ": " + answer.Reason, refusedChange(&m, &answer)
		}
	}
	if len(unreachable) == len(sockets) {
		return "", fault.Wrap(errors.Join(unreachable...), "LocalExecUnavailable", "no command gate could be asked", "name the management socket of one that runs with --socket; the waiting launch prints it")
	}
	return "", fault.New("ApprovalNotFound", "no command gate knows the token "+m.TokenID, "use the token that the waiting launch printed; its run may be over")
}

// refusedChange is the error for an answer other than ok.
func refusedChange(m *localexec.Manage, a *localexec.Managed) error {
	again := "run the command again and approve the token that it prints then"
	switch a.Outcome {
	case localexec.OK:
		return nil
	case localexec.AlreadyConsumed:
		return fault.New("ApprovalConsumed", "the command of "+m.TokenID+" was executed already", again)
	case localexec.AlreadyRevoked:
		return fault.New("ApprovalRevoked", strings.TrimSuffix(m.TokenID+" was revoked: "+a.Reason, ": "), again)
	case localexec.TokenExpired:
		return fault.New("ApprovalExpired", m.TokenID+" has expired", again+"; [sidecar.local_exec].token_ttl says how long they live")
	}
	return fault.New("ApprovalUnsupported", "the gate does not do that: "+a.Reason, "name the management socket with --socket, not the one where launchers ask")
}
