//go:build linux

package launch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"firma/internal/control"
	"firma/internal/fault"
	"firma/internal/spawn"
)

// child is a firma process that this one started and owns.
type child struct {
	role string
	cmd  *exec.Cmd
	ctl  *control.Conn
	gone chan struct{} // closed when the process has ended and been reaped

	mu  sync.Mutex
	log strings.Builder // the first KiBs of its stderr, for the error text
}

// startChild runs `firma ROLE --control-fd 3`. The child leads its own process
// group, so that Ctrl-C reaches the agent and not the Sidecar that serves it.
func startChild(t *spawn.Thread, role string, logTo io.Writer) (*child, error) {
	ctl, theirs, err := control.Pair(role)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	c := &child{role: role, ctl: ctl, gone: make(chan struct{})}
	c.cmd = exec.Command("/proc/self/exe", role, "--control-fd", "3")
	c.cmd.Args[0] = "firma"
	c.cmd.Dir = "/"
	// One processor until it serves: threads that wake one another cost more than
	// they bring while two roles and a sandbox start beside each other.
	c.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	c.cmd.ExtraFiles = []*os.File{theirs}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.cmd.Stderr = &tee{c: c, to: logTo}
	if err := t.Start(c.cmd, syscall.SIGTERM); err != nil {
		ctl.Close()
		return nil, fault.Wrap(err, "ChildNotStarted", "the "+role+" process could not be started", "check process limits (`ulimit -u`)")
	}
	go func() {
		_ = c.cmd.Wait()
		close(c.gone)
	}()
	return c, nil
}

// tee keeps the start of a child's stderr and passes all of it to the run's log.
type tee struct {
	c  *child
	to io.Writer
}

func (t *tee) Write(b []byte) (int, error) {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	if room := 4<<10 - t.c.log.Len(); room > 0 {
		t.c.log.Write(b[:min(room, len(b))])
	}
	if t.to != nil {
		_, _ = t.to.Write(b)
	}
	return len(b), nil
}

// expect waits for the next message, which must be of the given kind; a failure
// the child reports, or its death, is the error.
func (c *child) expect(k control.Kind) (control.Message, error) {
	m, files, err := c.ctl.Recv()
	for _, f := range files {
		f.Close()
	}
	switch {
	case errors.Is(err, io.EOF):
		return m, c.died()
	case err != nil:
		return m, err
	case m.Kind == control.KindFailed && m.Failure != nil:
		return m, m.Failure.Err()
	case m.Kind != k:
		return m, fmt.Errorf("%s: expected message %q, got %q", c.role, k, m.Kind)
	}
	return m, nil
}

func (c *child) died() error {
	<-c.gone
	c.mu.Lock()
	defer c.mu.Unlock()
	text := "the " + c.role + " process ended: " + c.cmd.ProcessState.String()
	if c.log.Len() > 0 {
		text += ": " + strings.TrimSpace(c.log.String())
	}
	return fault.New(strings.ToUpper(c.role[:1])+c.role[1:]+"Lost", text, "the run was ended, since nothing may leave the sandbox without the "+c.role+"; run again, with --log-filter debug if it recurs")
}

// patience is how long a child may take to end once its channel is closed.
const patience = 3 * time.Second

// stop ends the child and returns when it is gone. Closing its channel asks it
// to; one that does not answer is killed.
func (c *child) stop() {
	c.ctl.Close()
	select {
	case <-c.gone:
		return
	case <-time.After(patience):
	}
	c.kill()
	<-c.gone
}

func (c *child) kill() { _ = c.cmd.Process.Kill() }
