//go:build linux

package bwrap

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"

	"firma/internal/fault"
	"firma/internal/sandbox/stub"
)

// Probe starts this program in a sandbox that shows the whole host and shuts off
// only what options say, and returns nil if it was reached. What bwrap says
// otherwise is explained as for a launch.
func Probe(ctx context.Context, path string, options ...string) error {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return fault.Wrap(err, "SandboxSetupFailed", "firma's own program can't be opened", "mount /proc")
	}
	defer self.Close()
	args := append([]string{"--die-with-parent", "--ro-bind", "/", "/"}, options...)
	cmd := exec.CommandContext(ctx, path, append(args, "/proc/self/fd/3", stub.Arg, stub.Probe)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.Env, cmd.Dir = []string{}, "/"
	cmd.ExtraFiles = []*os.File{self}
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fault.Wrap(ctx.Err(), "SandboxSetupFailed", "bwrap did not come to an end", "see what "+path+" is: firma needs bubblewrap")
	case errors.As(err, &exit):
		return Explain(stderr.String(), ReadHost())
	}
	return notStarted(err)
}

// notStarted explains why there is no process of bwrap: this host starts none at
// all, which firma's own children would meet too, or it is no program.
func notStarted(err error) error {
	for _, none := range []error{syscall.EAGAIN, syscall.ENOMEM, syscall.EPERM, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, none) {
			return fault.Wrap(err, "ChildNotStarted", "the bwrap process could not be started", "check process limits (`ulimit -u`)")
		}
	}
	return fault.Wrap(err, "SandboxSetupFailed", "bwrap could not be started", installFix)
}

// TryDevices does what a launch by root does before it starts bwrap: it makes
// device nodes in a mount namespace of their own. For others it does nothing.
func TryDevices() error {
	_, err := newThread()
	return err
}
