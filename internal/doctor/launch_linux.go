package doctor

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"firma/internal/fault"
)

// launch is the whole thing: firma run, with an Authority and a Sidecar of its
// own, and a state directory that vanishes.
func (x *exam) launch(ctx context.Context) finding {
	state, err := os.MkdirTemp("", "firma-doctor-")
	if err != nil {
		return finding{status: Warn, reason: "not tried: there is no temporary directory: " + err.Error(), fix: "set TMPDIR to one that you may write"}
	}
	defer os.RemoveAll(state)
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	args := append([]string{"run", "--authority", "local", "--sidecar", "local", "--quiet", "--state-dir", state}, x.Flags...)
	cmd := exec.CommandContext(ctx, x.Program, append(args, "--", "true")...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	begun := time.Now()
	err = cmd.Run()
	if err == nil {
		return good("`firma run -- true` works").with("in " + time.Since(begun).Round(time.Millisecond).String())
	}
	if cmd.Process == nil {
		return bad(fault.Wrap(err, "ChildNotStarted", "firma run could not be started", "check process limits (`ulimit -u`)"))
	}
	name, text, fix := parseFault(stderr.String())
	if name == "" {
		return bad(errors.New("firma run: " + err.Error() + ": " + strings.TrimSpace(stderr.String())))
	}
	return finding{status: Fail, reason: name + ": " + text, fix: fix}
}

// parseFault reads what firma prints for the person who has to act on a fault.
func parseFault(stderr string) (name, text, fix string) {
	_, rest, ok := strings.Cut("\n"+stderr, "\nfirma: error: ")
	if !ok {
		return "", "", ""
	}
	what, fix, _ := strings.Cut(rest, "\nfirma: fix: ")
	name, text, _ = strings.Cut(what, ": ")
	fix, _, _ = strings.Cut(fix, "\nfirma: ")
	return name, strings.TrimSpace(text), strings.TrimSpace(fix)
}
