//go:build unix && !linux

package sidecar

import "syscall"

// keepAlive leaves it to the system's defaults.
func keepAlive(_, _ string, _ syscall.RawConn) error { return nil }
