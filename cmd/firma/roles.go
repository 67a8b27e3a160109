package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"firma/internal/fault"
)

// roleCommand is a role that firma run starts beside an agent, on an inherited
// control descriptor.
func roleCommand(name, short string, lf *logging, serve func(ctx context.Context, ctl *os.File, log *slog.Logger) error) *cobra.Command {
	var fd int
	cmd := &cobra.Command{
		Use:   name,
		Short: short,
		Args:  arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if fd < 3 {
				return fault.New("NotImplemented", "firma "+name+" runs only as a part of firma run yet", "use: firma run -- COMMAND")
			}
			log, _, err := lf.open(name, os.Stderr)
			if err != nil {
				return err
			}
			if serve(cmd.Context(), os.NewFile(uintptr(fd), "control"), log) != nil {
				return exitError(1) // the launcher was told why, on the control channel
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&fd, "control-fd", -1, "inherited control descriptor")
	_ = cmd.Flags().MarkHidden("control-fd")
	return cmd
}
