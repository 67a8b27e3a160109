//go:build unix

package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"firma/internal/authority"
	"firma/internal/control"
	"firma/internal/sidecar"
)

func sidecarCommand() *cobra.Command {
	return roleCommand("sidecar", "Run the enforcement pipeline", func(ctx context.Context, f *os.File, log *slog.Logger) error {
		ctl, err := control.New(f)
		if err != nil {
			return err
		}
		return sidecar.ServeRun(ctx, ctl, log)
	})
}

func authorityCommand() *cobra.Command {
	return roleCommand("authority", "Run the control plane", func(ctx context.Context, f *os.File, log *slog.Logger) error {
		ctl, err := control.New(f)
		if err != nil {
			return err
		}
		return authority.ServeRun(ctx, ctl, log)
	})
}
