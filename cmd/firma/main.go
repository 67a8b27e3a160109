// Command firma puts an AI agent into an OS sandbox where every outbound call is
// forced through a policy Sidecar. It is flags in, exit code out; the work is
// under internal/.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unicode"

	"github.com/spf13/cobra"

	"firma/internal/fault"
	"firma/internal/sandbox/stub"
)

func main() {
	// First of all: inside a sandbox this binary is the stub and nothing else.
	if len(os.Args) > 1 && os.Args[1] == stub.Arg {
		os.Exit(stub.Main(os.Args[2:]))
	}
	// The standard library's own lines may quote what a peer sent.
	stdlog.SetOutput(io.Discard)
	os.Exit(firma(os.Args[1:]))
}

// exitError is a command that has said what it had to say and wants this status.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// exitRunFailed is firma run's status for every failure of its own.
const exitRunFailed = 125

// firma runs one command line and returns its exit status: 0, 1 for a failure, 2
// for wrong usage; firma run has its own (docs/cli.md).
func firma(args []string) int {
	root := rootCommand()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(context.Background())
	var exit exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	}
	if fault.NameOf(err) == "" && strings.HasPrefix(err.Error(), "unknown command ") {
		word, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), `unknown command "`), `"`)
		err = unknownCommand(cmd, word)
	}
	report(os.Stderr, err)
	switch {
	case isRun(cmd):
		return exitRunFailed
	case fault.Usage(err):
		return 2
	}
	return 1
}

func isRun(cmd *cobra.Command) bool { return cmd.CommandPath() == "firma run" }

func rootCommand() *cobra.Command {
	var log logging
	root := &cobra.Command{
		Use:   "firma",
		Short: "Run an AI agent where nothing leaves but through a policy",
		Example: `  firma run -- curl https://example.com
  firma doctor
  firma audit verify`,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRun: func(cmd *cobra.Command, _ []string) {
			if !isRun(cmd) { // firma run forwards signals to the agent itself
				ctx, _ := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
				cmd.SetContext(ctx)
			}
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return flagError(cmd, err)
	})
	root.Version = versionLine() // for who types --version
	root.Flags().Bool("version", false, "print the version")
	root.SetVersionTemplate("{{.Version}}\n")
	root.DisableSuggestions = true // ours are in the fix
	readableHelp(root)
	log.flags(root)
	for _, g := range []struct {
		title    string
		commands []*cobra.Command
	}{
		{"Run an agent:", []*cobra.Command{runCommand(&log), doctorCommand(&log), trustCommand(), tokenCommand()}},
		{"Look at what it did:", []*cobra.Command{auditCommand()}},
		{"Decide what it may do:", []*cobra.Command{policyCommand(), seccompCommand()}},
		{"Serve many runs:", []*cobra.Command{sidecarCommand(&log), authorityCommand(&log), caCommand()}},
	} {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title})
		for _, c := range g.commands {
			c.GroupID = g.title
			root.AddCommand(c)
		}
	}
	root.AddCommand(versionCommand())
	settleHelp(root)
	complete(root)
	return root
}

// group is a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Annotations: map[string]string{holdsNote: use}, Args: cobra.ArbitraryArgs, RunE: func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(cmd, args[0])
		}
		return cmd.Help()
	}}
	cmd.AddCommand(commands...)
	return cmd
}

// arguments makes a wrong number of arguments a usage error.
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return fault.New(fault.ArgumentInvalid, err.Error(), "write: "+cmd.UseLine()+"; see: "+cmd.CommandPath()+" --help")
		}
		return nil
	}
}

// report prints an error for the person who has to act on it: its name, what
// happened, and the fix.
func report(w io.Writer, err error) {
	var f *fault.Error
	if !errors.As(err, &f) {
		fmt.Fprintln(w, "firma: error:", printable(err.Error()))
		return
	}
	fmt.Fprintf(w, "firma: error: %s\n", printable(f.Error()))
	if f.Fix != "" {
		fmt.Fprintf(w, "firma: fix: %s\n", printable(f.Fix))
	}
}

// printable keeps what files and peers say from acting on the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}
