//go:build unix

package marker

import (
	"errors"
	"syscall"
)

// Alive reports whether the process that had pid when it was born then is still
// there. born 0 matches every process.
func Alive(pid int, born uint64) bool {
	if pid <= 1 {
		return false
	}
	if err := syscall.Kill(pid, 0); err != nil && !errors.Is(err, syscall.EPERM) {
		return false
	}
	now := Born(pid)
	return born == 0 || now == 0 || now == born
}

// StateOf says how a process is. One that is stopped or a zombie serves nobody.
func StateOf(pid int, born uint64) State {
	if !Alive(pid, born) {
		return Stopped
	}
	if f := fields(pid); len(f) > 0 {
		switch f[0] {
		case "Z", "X":
			return Stopped
		case "T", "t":
			return Unhealthy
		}
	}
	return Running
}
