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
	report, err := sv.detach(env, append(append([]string{"firma"}, args...), "--report-fd", "3"))
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

// detach starts the process in a session of its own, without a parent-death
// signal.
func (sv *service) detach(env, args []string) (report *os.File, err error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	log, err := os.OpenFile(sv.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	report, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer write.Close()
	thread, err := spawn.NewThread(nil)
	if err == nil {
		sv.proc, err = thread.Start(spawn.Command{
			Path: exe, Args: args, Dir: "/", Env: env, Files: []*os.File{null, log, log, write}, Attr: syscall.SysProcAttr{Setsid: true},
		}, 0)
	}
	if err != nil {
		report.Close()
		return nil, err
	}
	go func() {
		sv.status, _ = sv.proc.Wait()
		close(sv.gone)
	}()
	return report, nil
}
