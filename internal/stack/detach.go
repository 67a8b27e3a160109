//go:build unix

package stack

import (
	"context"
	"os"
	"path/filepath"
	"syscall"

	"firma/internal/fault"
	"firma/internal/spawn"
)

// Detach starts `firma ARGS… --report-fd 3` as a supervisor that lives on without
// this process, and returns once its stack is up. What it says goes to
// supervisor.log.
func Detach(ctx context.Context, stateDir string, env, args []string) (Report, error) {
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return Report{}, fault.Wrap(err, "StateDirNotWritable", "the state directory "+stateDir+" can't be made", "name another with --state-dir or FIRMA_STATE_DIR")
	}
	sv := &service{role: "supervisor", log: filepath.Join(stateDir, supervisorLog), gone: make(chan struct{})}
	var report *os.File
	thread, err := spawn.NewThread(nil)
	if err == nil { // a session of its own, without a parent-death signal
		report, err = sv.spawn(thread, env, append(append([]string{"firma"}, args...), "--report-fd", "3"), syscall.SysProcAttr{Setsid: true}, 0)
	}
	if err != nil {
		return Report{}, fault.Wrap(err, "ChildNotStarted", "the supervisor could not be started", "check process limits (`ulimit -u`) and that "+stateDir+" is writable")
	}
	defer report.Close()
	r, err := sv.await(ctx, report)
	if err != nil && ctx.Err() != nil {
		sv.proc.Signal(syscall.SIGTERM)
	}
	return r, err
}
