//go:build linux

// Package launch is the run role: it prepares the sandbox, starts the Authority
// and the Sidecar beside it, turns the sandbox into the agent, waits, and undoes
// all of it. It never reads the agent's traffic.
package launch

import (
	"log/slog"
	"time"

	"firma/internal/config"
)

// Options are one run's settings, resolved from flags, files and environment.
type Options struct {
	Command []string
	Profile string
	Config  *config.Config

	// Authority is "local" or a URL.
	Authority        string
	AuthorityProfile string
	Allow            []string // HOST[:PORT], already checked
	Quiet            bool

	StateDir       string // absolute
	StartupTimeout time.Duration
	Log            *slog.Logger
}

// firma's own exit status for every failure before and after the agent. 126 and
// 127 are the shell's for a command that can't run or is not found.
const (
	ExitFailure       = 125
	exitNotExecutable = 126
	exitNotFound      = 127
)
