// Command firma puts an AI agent into an OS sandbox where every outbound call is
// forced through a policy Sidecar. It is flags in, exit code out; the work is
// under internal/.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"firma/internal/fault"
	"firma/internal/sandbox/stub"
)

func main() {
	// First of all: inside a sandbox this binary is the stub and nothing else.
	if len(os.Args) > 1 && os.Args[1] == stub.Arg {
		os.Exit(stub.Main(os.Args[2:]))
	}
	os.Exit(firma(os.Args[1:]))
}

// exitError is a command that has said what it had to say and wants this status.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// firma runs one command line and returns its exit status: 0, 1 for a failure, 2
// for wrong usage; firma run has its own (docs/cli.md).
func firma(args []string) int {
	// firma run forwards signals to the agent itself.
	ctx := context.Background()
	if len(args) > 0 && args[0] != "run" {
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
		defer stop()
	}
	root := rootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var exit exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	}
	report(os.Stderr, err)
	var usage usageError
	if errors.As(err, &usage) || strings.HasPrefix(err.Error(), "unknown ") {
		return 2
	}
	return 1
}

// usageError is a command line that can't be meant.
type usageError struct{ error }

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "firma",
		Short:         "Run an AI agent where nothing leaves but through a policy",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(runCommand(), sidecarCommand(), authorityCommand(), auditCommand(), versionCommand())
	return root
}

// report prints an error for the person who has to act on it: its name, what
// happened, and the fix.
func report(w io.Writer, err error) {
	var f *fault.Error
	if !errors.As(err, &f) {
		fmt.Fprintln(w, "firma: error:", err)
		return
	}
	fmt.Fprintf(w, "firma: error: %s\n", f.Error())
	if f.Fix != "" {
		fmt.Fprintf(w, "firma: fix: %s\n", f.Fix)
	}
}
