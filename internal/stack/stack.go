//go:build unix

package stack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"firma/internal/fault"
	"firma/internal/marker"
	"firma/internal/spawn"
)

// The files of a stack, in the state directory. A service has NAME.pid,
// NAME.listen and NAME.log.
const (
	lockFile       = "stack.lock"
	pidFile        = "stack.pid"
	supervisorLog  = "supervisor.log"
	authorityRole  = "authority"
	sidecarRole    = "sidecar"
	startupTime    = 20 * time.Second
	authorityGrace = 5 * time.Second
)

// Options are what a stack is started with.
type Options struct {
	StateDir  string // absolute
	Config    string // absolute path, "" for the discovered one
	Authority bool   // start one, and have the Sidecar follow it
	// Drain is how long the Sidecar may take to end once it is asked to.
	Drain time.Duration
	Env   []string // of the services
	Ready func(Report)
	Log   *slog.Logger
}

// Run starts the services and keeps them until ctx ends, or one of them does: then
// all are ended, the Sidecar first. A failure to start leaves nothing running.
// Errors are faults; StackRunning means that another stack has the directory.
func Run(ctx context.Context, o Options) (err error) {
	s := &supervisor{o: o}
	if err := os.MkdirAll(o.StateDir, 0o700); err != nil {
		return fault.Wrap(err, "StateDirNotWritable", "the state directory "+o.StateDir+" can't be made", "name another with --state-dir or FIRMA_STATE_DIR")
	}
	lock, err := takeLock(o.StateDir)
	if err != nil {
		return err
	}
	defer lock.Close()
	defer s.cleanUp()
	if err := marker.WritePID(s.path(pidFile), os.Getpid()); err != nil {
		return err
	}
	if s.thread, err = spawn.NewThread(nil); err != nil {
		return err
	}
	defer s.end(ctx)
	if err := s.startAll(ctx); err != nil {
		return err
	}
	return s.watch(ctx)
}

type supervisor struct {
	o         Options
	thread    *spawn.Thread
	authority *service // nil when none is started
	sidecar   *service
}

func (s *supervisor) path(name string) string { return filepath.Join(s.o.StateDir, name) }

// takeLock makes this process the one stack of the directory; the lock ends with
// it, however it goes.
func takeLock(stateDir string) (*os.File, error) {
	path := filepath.Join(stateDir, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fault.Wrap(err, "StateDirNotWritable", "the state directory "+stateDir+" can't be used", "name another with --state-dir or FIRMA_STATE_DIR")
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		text := "another firma sidecar start uses " + stateDir
		if pid, _, perr := marker.ReadPID(filepath.Join(stateDir, pidFile)); perr == nil {
			text += fmt.Sprintf(" (pid %d)", pid)
		}
		return nil, fault.New("StackRunning", text, "end it with `firma sidecar stop`, or name another directory with --state-dir")
	}
	return f, nil
}

func (s *supervisor) startAll(ctx context.Context) error {
	args := []string{}
	if s.o.Authority {
		a, r, err := s.start(ctx, authorityRole)
		if s.authority = a; err != nil {
			return err
		}
		args = append(args, "--authority-url", "http://"+r.Listen)
	}
	side, r, err := s.start(ctx, sidecarRole, args...)
	if s.sidecar = side; err != nil {
		return err
	}
	attrs := []any{"sidecar", fmt.Sprintf("pid %d, %s", side.proc.Pid(), r.Listen), "health", r.Health}
	if a := s.authority; a != nil {
		attrs = append(attrs, "authority", fmt.Sprintf("pid %d, %s", a.proc.Pid(), a.listen))
	}
	s.o.Log.Info("stack ready", attrs...)
	if s.o.Ready != nil {
		s.o.Ready(r)
	}
	return nil
}

// watch returns when the stack is to end: nil after ctx ended.
func (s *supervisor) watch(ctx context.Context) error {
	var gone <-chan struct{}
	if s.authority != nil {
		gone = s.authority.gone
	}
	select {
	case <-ctx.Done():
		return nil
	case <-s.sidecar.gone:
		return s.sidecar.lost()
	case <-gone:
		return s.authority.lost()
	}
}

// end ends what runs: first the Sidecar, which seals its log, then the Authority.
func (s *supervisor) end(context.Context) {
	if s.sidecar != nil {
		s.sidecar.stop(s.o.Drain + authorityGrace)
	}
	if s.authority != nil {
		s.authority.stop(authorityGrace)
	}
}

func (s *supervisor) cleanUp() {
	for _, name := range []string{pidFile, sidecarRole + ".pid", sidecarRole + ".listen", authorityRole + ".pid", authorityRole + ".listen"} {
		if err := os.Remove(s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.o.Log.Warn("a file of the stack could not be removed", "err", err)
		}
	}
}
