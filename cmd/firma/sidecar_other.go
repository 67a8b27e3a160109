//go:build !unix

package main

import (
	"context"

	"github.com/spf13/cobra"

	"firma/internal/fault"
)

func (o *sidecarOptions) serve(context.Context) error {
	return fault.New("UnsupportedPlatform", "the Sidecar needs a Unix system", "run it on Linux or macOS, or in a Linux virtual machine")
}

func (o *sidecarOptions) stackCommands() []*cobra.Command { return nil }
