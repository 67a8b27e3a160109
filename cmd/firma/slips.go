package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"firma/internal/fault"
	"firma/internal/nearest"
)

// unknownCommand refuses a word that is no command of cmd, with a guess at what was
// meant.
func unknownCommand(cmd *cobra.Command, word string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	fix := "see: " + cmd.CommandPath() + " --help"
	if name := nearest.Name(word, names); name != "" {
		fix = "did you mean " + cmd.CommandPath() + " " + name + "? " + fix
	}
	return fault.New(fault.ArgumentInvalid, fmt.Sprintf("unknown command %q for %q", word, cmd.CommandPath()), fix)
}

// flagError says what is wrong with a flag in words, with a guess at what was meant.
func flagError(cmd *cobra.Command, err error) error {
	text, fix := err.Error(), "see: "+cmd.CommandPath()+" --help"
	var unknown *pflag.NotExistError
	var wrong *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "":
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		if name := nearest.Name(unknown.GetSpecifiedName(), names); name != "" {
			fix = "did you mean --" + name + "? " + fix
		}
	case errors.As(err, &wrong) && strings.HasPrefix(wrong.GetFlag().Value.Type(), "int"):
		text = fmt.Sprintf("--%s %s is not a whole number", wrong.GetFlag().Name, wrong.GetValue())
	}
	return fault.New(fault.ArgumentInvalid, text, fix)
}
