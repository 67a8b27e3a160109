package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"firma/internal/config"
	"firma/internal/fault"
)

// trustOptions are the flags of firma trust.
type trustOptions struct {
	stateDir     string
	list, remove bool
}

const trustLong = `Record that a project's .firma/firma.toml may be used as it is now: its content
and that of the rules, policies, schemas and keys it names. What it changes is
printed; read it before. When any of it changes, it must be trusted again.

PATH is the project's directory or the file.`

func trustCommand() *cobra.Command {
	var o trustOptions
	cmd := &cobra.Command{
		Use: "trust PATH", Short: "Trust a project's configuration", Long: trustLong,
		Example: "  firma trust .\n  firma trust --list\n  firma trust --remove .",
		Args:    arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.OutOrStdout(), cmd.ErrOrStderr(), args)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.list, "list", false, "print what is trusted")
	f.BoolVar(&o.remove, "remove", false, "trust PATH no longer")
	f.StringVar(&o.stateDir, "state-dir", "", "`DIR` where trust is recorded")
	return cmd
}

func (o *trustOptions) run(out, notes io.Writer, args []string) error {
	if o.list == (len(args) == 1) {
		return fault.New(fault.ArgumentInvalid, "firma trust takes one PATH, or --list", "see: firma trust --help")
	}
	w := here("")
	w.State = o.stateDir
	switch {
	case o.list:
		return printTrusted(out, notes, w)
	case o.remove:
		path, err := config.Distrust(w, args[0])
		if err == nil {
			fmt.Fprintln(out, path, "is not trusted any more")
		}
		return err
	}
	t, effect, err := config.Trust(w, args[0])
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\nTrusted: %s\n", effect, describe(t))
	return nil
}

func printTrusted(out, notes io.Writer, w config.Where) error {
	records, err := config.TrustedPaths(w)
	if err != nil {
		return err
	}
	if len(records) == 0 {
		fmt.Fprintln(notes, "firma: note: no configuration is trusted")
	}
	for _, t := range records {
		fmt.Fprintln(out, describe(&t))
	}
	return nil
}

// describe names a record's files, the configuration first.
func describe(t *config.Trusted) string {
	var others []string
	for p := range t.Files {
		if p != t.Path {
			others = append(others, p)
		}
	}
	slices.Sort(others)
	return strings.Join(append([]string{t.Path + " sha256:" + t.Files[t.Path]}, others...), "\n  with ")
}
