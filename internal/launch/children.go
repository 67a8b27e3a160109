//go:build linux

package launch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
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
	proc *spawn.Process
	ctl  *control.Conn
	gone chan struct{} // closed when the process has ended and been reaped

	status syscall.WaitStatus // once gone

	mu  sync.Mutex
	log strings.Builder // the first KiBs of its stderr, for the error text
}

// startChild runs `firma ROLE --control-fd 3`. The child leads its own process
// group, so that Ctrl-C reaches the agent and not the Sidecar that serves it.
func startChild(t *spawn.Thread, role string, o *Options) (*child, error) {
	ctl, theirs, err := control.Pair(role)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	c := &child{role: role, ctl: ctl, gone: make(chan struct{})}
	null, err := os.Open(os.DevNull)
	if err != nil {
		ctl.Close()
		return nil, err
	}
	defer null.Close()
	errs, write, err := os.Pipe()
	if err != nil {
		ctl.Close()
		return nil, err
	}
	defer write.Close()
	c.proc, err = t.Start(spawn.Command{
		Path: "/proc/self/exe", Args: []string{"firma", role, "--control-fd", "3"}, Dir: "/",
		// One processor until it serves: threads that wake one another cost more
		// than they bring while two roles and a sandbox start beside each other.
		Env:   append(append(slices.Clone(o.ChildEnv), "GOMAXPROCS=1"), os.Environ()...), // the first of a name wins
		Files: []*os.File{null, null, write, theirs},
		Attr:  syscall.SysProcAttr{Setpgid: true},
	}, syscall.SIGTERM)
	if err != nil {
		errs.Close()
		ctl.Close()
		return nil, fault.Wrap(err, "ChildNotStarted", "the "+role+" process could not be started", "check process limits (`ulimit -u`)")
	}
	go c.reap(errs, o.logTo())
	return c, nil
}

// reap collects what the child says on stderr, and how it ended.
func (c *child) reap(errs *os.File, logTo io.Writer) {
	said := make(chan struct{})
	go func() {
		defer close(said)
		_, _ = io.Copy(&tee{c: c, to: logTo}, errs)
		errs.Close()
	}()
	c.status, _ = c.proc.Wait()
	<-said
	close(c.gone)
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

// send writes a message; when the child is gone, its own reason is the error.
func (c *child) send(m control.Message, files ...*os.File) error {
	err := c.ctl.Send(m, files...)
	if err == nil {
		return nil
	}
	if _, why := c.expect(""); why != nil {
		return why
	}
	return err
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
	text := "the " + c.role + " process ended: " + ended(c.status)
	if c.log.Len() > 0 {
		text += ": " + strings.TrimSpace(c.log.String())
	}
	return fault.New(lost(c.role), text, "the run was ended, since nothing may leave the sandbox without the "+c.role+"; run again, with --log-filter debug if it recurs")
}

// lost names the end of a process that a run can't do without.
func lost(role string) string {
	if role == "authority" {
		return "AuthorityLost"
	}
	return "SidecarLost"
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

func (c *child) kill() { c.proc.Kill() }

func ended(ws syscall.WaitStatus) string {
	if ws.Signaled() {
		return "signal: " + ws.Signal().String()
	}
	return fmt.Sprintf("exit status %d", ws.ExitStatus())
}
