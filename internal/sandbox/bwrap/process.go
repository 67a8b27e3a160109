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
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"firma/internal/control"
	"firma/internal/fault"
	"firma/internal/sandbox"
	"firma/internal/sandbox/stub"
	"firma/internal/spawn"
)

// Stdio is what the agent's 0, 1 and 2 will be. The files stay the caller's.
type Stdio struct {
	In, Out, Err *os.File
	// Terminal makes the first of them that is TTY the controlling terminal.
	Terminal *os.File
}

// Process is a sandbox that has been set up and waits to become the agent.
type Process struct {
	cmd    spawn.Command
	proc   *spawn.Process
	ctl    *control.Conn
	errs   *os.File
	stderr bytes.Buffer
	drain  chan struct{}
	pid    int
	pins   []control.Pin

	mu    sync.Mutex
	pidfd int // of the agent; -1 before and after
}

// Start builds the sandbox and returns once it has started; Sockets then waits
// until it is complete. bwrap sees an empty environment and /dev/null, since
// pid 1 inside keeps both for the agent to read.
func Start(path string, spec *sandbox.Spec, io Stdio) (*Process, error) {
	thread, err := newThread()
	if err != nil {
		return nil, err
	}
	p := &Process{drain: make(chan struct{}), pidfd: -1}
	if p.pins, err = pins(spec); err != nil {
		return nil, err
	}
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
	defer closeFiles(p.cmd.Files[3:], io, theirs)
	read, write, err := os.Pipe()
	if err != nil {
		return nil, p.abandon(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, p.abandon(err)
	}
	defer null.Close()
	p.errs = read
	p.cmd.Files[0], p.cmd.Files[1], p.cmd.Files[2] = null, null, write
	p.proc, err = thread.Start(p.cmd, syscall.SIGKILL)
	write.Close()
	if err != nil {
		read.Close()
		return nil, p.abandon(notStarted(err))
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
	p.cmd = spawn.Command{
		Path: path, Args: []string{"bwrap", "--args", "4", "/proc/self/fd/3", stub.Arg, "6"},
		Env: []string{}, Dir: "/",
		Files: append(make([]*os.File, 3), files...),
		Attr:  syscall.SysProcAttr{Setsid: true},
		Group: true,
	}
	if io.Terminal != nil {
		p.cmd.Attr.Setctty = true
		p.cmd.Attr.Ctty = ctty(io)
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

// Sockets waits for the finished sandbox and returns its unbound sockets, which
// are the caller's.
func (p *Process) Sockets() (control.Sockets, error) {
	m, files, pid, err := p.ctl.RecvFrom()
	if errors.Is(err, io.EOF) {
		_, _ = p.proc.Wait()
		<-p.drain
		return nil, Explain(p.stderr.String(), ReadHost())
	}
	if err != nil {
		return nil, err
	}
	if m.Kind == control.KindFailed && m.Failure != nil {
		return nil, m.Failure.Err()
	}
	socks, err := control.NameSockets(m.Sockets, files)
	if m.Kind != control.KindSockets || err != nil {
		return nil, fault.New("SandboxSetupFailed", "the sandbox handed over something other than its sockets", "")
	}
	// The sender waits for our answer, so its pid can't have been reused yet.
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("pidfd_open: %w", err)
	}
	p.mu.Lock()
	p.pidfd = fd
	p.mu.Unlock()
	p.pid = pid
	return socks, nil
}

// Exec turns the stub into the agent. It returns when the agent runs, or a fault
// named CommandNotFound or CommandNotExecutable.
func (p *Process) Exec(x control.Exec) error {
	x.Pins = p.pins
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
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pidfd >= 0 {
		_ = unix.PidfdSendSignal(p.pidfd, sig, nil, 0)
	}
}

// Kill ends the sandbox and everything in it.
func (p *Process) Kill() {
	p.proc.Kill()
}

// Exit is how a sandbox ended.
type Exit struct {
	Code int  // the agent's own, 128+n when signal n ended it
	Lost bool // bwrap itself was killed: Code says nothing about the agent
}

// Wait returns when the sandbox is gone, agent included.
func (p *Process) Wait(context.Context) Exit {
	ws, err := p.proc.Wait()
	<-p.drain
	p.ctl.Close()
	p.outlast()
	if err != nil || ws.Signaled() {
		return Exit{Code: 125, Lost: true}
	}
	return Exit{Code: ws.ExitStatus()}
}

// outlast waits for the agent itself: after a killed bwrap the kernel ends it a
// moment later. A pidfd is readable once its process has ended (pidfd_open(2)).
func (p *Process) outlast() {
	p.mu.Lock()
	fd := p.pidfd
	p.pidfd = -1
	p.mu.Unlock()
	if fd < 0 {
		return
	}
	defer unix.Close(fd)
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 5000)
		if err != unix.EINTR {
			return
		}
	}
}

// Version asks bwrap for its version.
func Version(ctx context.Context, path string) string {
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "unknown"
	}
	return string(bytes.TrimSpace(bytes.TrimPrefix(out, []byte("bubblewrap "))))
}
