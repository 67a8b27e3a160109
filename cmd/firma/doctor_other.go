//go:build !linux

package main

import (
	"runtime"

	"github.com/spf13/cobra"

	"firma/internal/fault"
)

func (*doctorOptions) run(*cobra.Command) error {
	return fault.New("UnsupportedBackend", "firma has no sandbox for "+runtime.GOOS+" yet", "run it on Linux, or in a Linux virtual machine")
}
