//go:build !unix

package main

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
)

func unsupported(context.Context, *os.File, *slog.Logger) error {
	return errors.New("this role needs a Unix system")
}

func sidecarCommand(log *logging) *cobra.Command {
	return roleCommand("sidecar", "Run the enforcement pipeline", log, unsupported)
}
