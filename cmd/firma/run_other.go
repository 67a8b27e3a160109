//go:build !linux

package main

import (
	"context"
	"runtime"

	"firma/internal/fault"
)

func (*runOptions) run(context.Context, []string) (int, error) {
	return 125, fault.New("UnsupportedBackend", "firma has no sandbox for "+runtime.GOOS+" yet", "run it on Linux, or in a Linux virtual machine")
}
