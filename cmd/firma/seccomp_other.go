//go:build !linux

package main

import (
	"runtime"

	"github.com/spf13/cobra"

	"firma/internal/fault"
)

func noFilter() error {
	return fault.New("UnsupportedBackend", "the syscall filter is for Linux, and this is "+runtime.GOOS, "run it on Linux, or in a Linux virtual machine")
}

func (*seccompOptions) show(*cobra.Command) error    { return noFilter() }
func (*seccompOptions) verify(*cobra.Command) error  { return noFilter() }
func (*seccompOptions) compile(*cobra.Command) error { return noFilter() }
