//go:build linux

// Package launch is the run role: it prepares the sandbox, starts the Authority
// and the Sidecar beside it, turns the sandbox into the agent, waits, and undoes
// all of it. It never reads the agent's traffic.
package launch

import (
	"io"
	"log/slog"
	"time"

	"firma/internal/config"
	"firma/internal/logfile"
	"firma/internal/profile"
	"firma/internal/sandbox/seccomp/artifact"
)

// Options are one run's settings, resolved from flags, files and environment.
type Options struct {
	Command []string
	Again   string // what followed `firma run`, for a shell, to be advised with a flag more; "": not shown
	Profile profile.Profile
	Config  *config.Config
	Backend string // "bwrap", the only one built

	// Authority is "local" or a URL.
	Authority        string
	Sidecar          Endpoint // zero: one of the run's own
	AuthorityProfile string
	Allow            []string // HOST[:PORT], already checked
	CapabilityFile   string   // --capability-file, absolute; "": those configured
	SessionID        string   // FIRMA_RUN_SESSION_ID; "": the capabilities', or a new one
	Quiet            bool

	Transparent    bool             // connections of clients that ignore the proxy are captured
	CATrustMode    string           // of the profile; "": trust.AppendSystemRoots
	Seccomp        artifact.Options // of the profile; the environment overrides it
	StateDir       string           // absolute
	StartupTimeout time.Duration

	Capability config.Capability     // what the Authority is asked for
	LocalExec  *config.LocalExecGate // the profile's command gate; nil: the run's own, if one is served

	// Log is written to LogSink. While an agent owns the terminal that LogSink
	// writes to, lines go to a file of the state directory.
	Log      *slog.Logger
	LogSink  *logfile.Sink
	ChildEnv []string // for the processes of the run, on top of the caller's
}

// logTo is where the processes of the run say what does not belong to the agent.
func (o *Options) logTo() io.Writer {
	if o.LogSink == nil {
		return io.Discard
	}
	return o.LogSink
}

// firma's own exit status for every failure before and after the agent. 126 and
// 127 are the shell's for a command that can't run or is not found.
const (
	ExitFailure       = 125
	exitNotExecutable = 126
	exitNotFound      = 127
)
