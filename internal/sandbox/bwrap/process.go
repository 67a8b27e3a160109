//go:build linux

// Package bwrap confines a process with bubblewrap: user, mount, pid, ipc, uts,
// cgroup and network namespaces, no capabilities, a root built from an allowlist.
package bwrap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"firma/internal/control"
	"firma/internal/fault"
	"firma/internal/sandbox"
	"firma/internal/sandbox/stub"
)

// Stdio is what the agent's 0, 1 and 2 will be. The files stay the caller's.
type Stdio struct {
	In, Out, Err *os.File
	// Terminal makes the first of them that is TTY the controlling terminal.
	Terminal *os.File
}

// Process is a sandbox that has been set up and waits to become the agent.
type Process struct {
	cmd    *exec.Cmd
	ctl    *control.Conn
	errs   *os.File
	stderr bytes.Buffer
	drain  chan struct{}
	pidfd  int
	pid    int
}

// Start builds the sandbox and returns once it has started; Sockets then waits
// until it is complete. bwrap sees an empty environment and /dev/null, since
// pid 1 inside keeps both for the agent to read.
func Start(path string, spec *sandbox.Spec, io Stdio) (*Process, error) {
	thread, err := newThread()
	if err != nil {
		return nil, fault.Wrap(err, "SandboxSetupFailed", "private device nodes could not be made", "run firma as an ordinary user, or with CAP_SYS_ADMIN and CAP_MKNOD")
	}
	p := &Process{drain: make(chan struct{}), pidfd: -1}
	ctl, theirs, err := control.Pair("sandbox")
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	p.ctl = ctl
	if err := ctl.WantPeerPid(); err != nil {
		return nil, p.abandon(err)
	}
	if err := p.command(path, spec, io, theirs); err != nil {
		return nil, p.abandon(err)
	}
	defer closeFiles(p.cmd.ExtraFiles, io, theirs)
	read, write, err := os.Pipe()
	if err != nil {
		return nil, p.abandon(err)
	}
	p.errs, p.cmd.Stderr = read, write
	err = thread.Start(p.cmd, syscall.SIGKILL)
	write.Close()
	if err != nil {
		read.Close()
		return nil, p.abandon(fault.Wrap(err, "SandboxSetupFailed", "bwrap could not be started", installFix))
	}
	go p.collect()
	return p, nil
}

// command lays out the descriptors: 3 this binary, 4 bwrap's options, 5 the
// filter, 6 the control channel, 7 to 9 the agent's streams, then file contents.
func (p *Process) command(path string, spec *sandbox.Spec, io Stdio, ctl *os.File) error {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	filter, err := memfd("seccomp", spec.Seccomp)
	if err != nil {
		return err
	}
	files := []*os.File{self, nil, filter, ctl, io.In, io.Out, io.Err}
	args := &arguments{addFile: func(f *os.File) int {
		files = append(files, f)
		return 2 + len(files)
	}}
	args.isolation(spec.Identity)
	args.add("--seccomp", "5")
	if err := args.root(spec); err != nil {
		return err
	}
	if io.Terminal != nil {
		// So that ttyname(3) finds it: the sandbox's /dev/pts is another instance.
		args.add("--dev-bind", "/proc/self/fd/"+strconv.Itoa(ctty(io)), "/dev/console")
	}
	if files[1], err = memfd("args", args.buf.Bytes()); err != nil {
		return err
	}
	p.cmd = exec.Command(path, "--args", "4", "/proc/self/fd/3", stub.Arg, "6")
	p.cmd.Env = []string{}
	p.cmd.Dir = "/"
	p.cmd.ExtraFiles = files
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if io.Terminal != nil {
		p.cmd.SysProcAttr.Setctty = true
		p.cmd.SysProcAttr.Ctty = ctty(io)
	}
	return nil
}

// ctty is the number the terminal has in the child.
func ctty(io Stdio) int {
	for i, f := range []*os.File{io.In, io.Out, io.Err} {
		if f == io.Terminal {
			return 7 + i
		}
	}
	return 0
}

func closeFiles(files []*os.File, io Stdio, ctl *os.File) {
	for _, f := range files {
		if f != nil && f != io.In && f != io.Out && f != io.Err && f != ctl {
			f.Close()
		}
	}
}

func (p *Process) abandon(err error) error {
	p.ctl.Close()
	return err
}

// collect keeps the first 8 KiB that bwrap writes about its own failures.
func (p *Process) collect() {
	defer close(p.drain)
	_, _ = io.Copy(&p.stderr, io.LimitReader(p.errs, 8<<10))
	_, _ = io.Copy(io.Discard, p.errs)
	p.errs.Close()
}

// Sockets waits for the finished sandbox and returns its unbound sockets: TCP for
// the proxy, UDP and TCP for the resolver. They are the caller's.
func (p *Process) Sockets() ([]*os.File, error) {
	m, files, pid, err := p.ctl.RecvFrom()
	if errors.Is(err, io.EOF) {
		_ = p.cmd.Wait()
		<-p.drain
		return nil, explain(p.stderr.String())
	}
	if err != nil {
		return nil, err
	}
	if m.Kind == control.KindFailed && m.Failure != nil {
		return nil, m.Failure.Err()
	}
	if m.Kind != control.KindSockets || len(files) != 3 {
		return nil, fault.New("SandboxSetupFailed", "the sandbox handed over something other than its sockets", "")
	}
	// The sender waits for our answer, so its pid can't have been reused yet.
	if p.pidfd, err = unix.PidfdOpen(pid, 0); err != nil {
		return nil, fmt.Errorf("pidfd_open: %w", err)
	}
	p.pid = pid
	return files, nil
}

// Exec turns the stub into the agent. It returns when the agent runs, or a fault
// named CommandNotFound or CommandNotExecutable.
func (p *Process) Exec(x control.Exec) error {
	if err := p.ctl.Send(control.Message{Kind: control.KindExec, Exec: &x}); err != nil {
		return err
	}
	m, _, err := p.ctl.Recv()
	if errors.Is(err, io.EOF) {
		return nil // closed by exec
	}
	if err != nil {
		return err
	}
	if m.Failure == nil {
		return fault.New("SandboxSetupFailed", "unexpected message from the sandbox", "")
	}
	return m.Failure.Err()
}

// Pid is the agent's process id on the host.
func (p *Process) Pid() int { return p.pid }

// Signal sends sig to the agent; without effect once it has ended.
func (p *Process) Signal(sig syscall.Signal) {
	if p.pidfd >= 0 {
		_ = unix.PidfdSendSignal(p.pidfd, sig, nil, 0)
	}
}

// Kill ends the sandbox and everything in it.
func (p *Process) Kill() {
	if p.cmd.Process != nil {
		_ = p.cmd.Process.Kill()
	}
}

// Exit is how a sandbox ended.
type Exit struct {
	Code int  // the agent's own, 128+n when signal n ended it
	Lost bool // bwrap itself was killed: Code says nothing about the agent
}

// Wait returns when no process of the sandbox is left. Call it once, after Sockets.
func (p *Process) Wait(context.Context) Exit {
	_ = p.cmd.Wait()
	<-p.drain
	p.ctl.Close()
	if p.pidfd >= 0 {
		unix.Close(p.pidfd)
		p.pidfd = -1
	}
	ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || ws.Signaled() {
		return Exit{Code: 125, Lost: true}
	}
	return Exit{Code: ws.ExitStatus()}
}

// Version asks bwrap for its version.
func Version(ctx context.Context, path string) string {
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "unknown"
	}
	return string(bytes.TrimSpace(bytes.TrimPrefix(out, []byte("bubblewrap "))))
}
