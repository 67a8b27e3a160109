//go:build unix

package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"firma/internal/fault"
	"firma/internal/marker"
	"firma/internal/spawn"
)

// service is a role that runs as a process of its own.
type service struct {
	role   string
	proc   *spawn.Process
	listen string
	log    string
	gone   chan struct{} // closed when the process has ended and been reaped
	status syscall.WaitStatus
}

// start runs a role and returns once it has reported that it serves. On an error
// the service may be there all the same, to be ended by the caller.
func (s *supervisor) start(ctx context.Context, role string, more ...string) (*service, Report, error) {
	args := []string{"firma", role, "--state-dir", s.o.StateDir, "--report-fd", "3"}
	if s.o.Config != "" {
		args = append(args, "-c", s.o.Config)
	}
	sv := &service{role: role, log: s.path(role + ".log"), gone: make(chan struct{})}
	// It leads a group of its own, so that Ctrl-C reaches the supervisor alone,
	// which ends the services in order.
	report, err := sv.spawn(s.thread, s.o.Env, append(args, more...), syscall.SysProcAttr{Setpgid: true}, syscall.SIGTERM)
	if err != nil {
		return nil, Report{}, fault.Wrap(err, "ChildNotStarted", "the "+role+" process could not be started", "check process limits (`ulimit -u`) and that "+s.o.StateDir+" is writable")
	}
	defer report.Close()
	r, err := sv.await(ctx, report)
	if err != nil {
		return sv, r, err
	}
	sv.listen = r.Listen
	err = errors.Join(marker.WritePID(s.path(role+".pid"), sv.proc.Pid()), os.WriteFile(s.path(role+".listen"), []byte(r.Listen+"\n"), 0o600))
	return sv, r, err
}

// spawn starts this program again with a pipe for its report as descriptor 3 and
// its log as standard output and error. It ends with sig when thread's process
// does; 0 lets it live on.
func (sv *service) spawn(thread *spawn.Thread, env, args []string, attr syscall.SysProcAttr, sig syscall.Signal) (report *os.File, err error) {
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
	sv.proc, err = thread.Start(spawn.Command{Path: exe, Args: args, Dir: "/", Env: env, Files: []*os.File{null, log, log, write}, Attr: attr}, sig)
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

// await reads the service's report.
func (sv *service) await(ctx context.Context, report *os.File) (Report, error) {
	_ = report.SetReadDeadline(time.Now().Add(startupTime))
	defer context.AfterFunc(ctx, func() { _ = report.SetReadDeadline(time.Unix(1, 0)) })()
	var r Report
	err := json.NewDecoder(io.LimitReader(report, 1<<20)).Decode(&r)
	switch {
	case err == nil && r.Failure != nil:
		return r, r.Failure.Err()
	case err == nil:
		return r, nil
	case ctx.Err() != nil:
		return r, fault.New("Interrupted", "the start was interrupted", "")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return r, fault.New("StartupTimeout", fmt.Sprintf("the %s did not start within %v", sv.role, startupTime), "see "+sv.log)
	}
	<-sv.gone
	return r, sv.lost()
}

func (sv *service) lost() error {
	how := fmt.Sprintf("exit status %d", sv.status.ExitStatus())
	if sv.status.Signaled() {
		how = "signal: " + sv.status.Signal().String()
	}
	name := "SidecarLost"
	if sv.role == authorityRole {
		name = "AuthorityLost"
	}
	return fault.New(name, "the "+sv.role+" process ended: "+how, "see "+sv.log)
}

// stop asks the service to end and waits, at most patience; then it asks once more
// without patience, and kills what is left.
func (sv *service) stop(patience time.Duration) {
	for _, wait := range []time.Duration{patience, time.Second} {
		sv.proc.Signal(syscall.SIGTERM)
		select {
		case <-sv.gone:
			return
		case <-time.After(wait):
		}
	}
	sv.proc.Kill()
	<-sv.gone
}
