//go:build unix

package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"firma/internal/control"
	"firma/internal/sidecar"
)

func sidecarCommand(log *logging) *cobra.Command {
	return roleCommand("sidecar", "Run the enforcement pipeline", log, func(ctx context.Context, f *os.File, log *slog.Logger) error {
		ctl, err := control.New(f)
		if err != nil {
			return err
		}
		return sidecar.ServeRun(ctx, ctl, log)
	})
}
