//go:build linux

package launch

import (
	"errors"
	"io"
	"os"
	"sync"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"firma/internal/sandbox/bwrap"
)

// Streams are the caller's standard streams.
type Streams struct{ In, Out, Err *os.File }

// terminal is the first of them that is one, or nil.
func (s Streams) terminal() *os.File {
	for _, f := range []*os.File{s.In, s.Out, s.Err} {
		if term.IsTerminal(int(f.Fd())) {
			return f
		}
	}
	return nil
}

// streams connects the agent's standard streams with the caller's. What the
// agent gets is never the caller's own file: a descriptor of a host file could be
// opened again for writing through /proc/self/fd, and a terminal typed into. A
// stream that is a terminal becomes the run's private one, the others plain pipes.
type streams struct {
	agent  bwrap.Stdio
	master *os.File // nil without a terminal
	raw    *term.State
	tty    *os.File // the caller's terminal

	ours   []*os.File
	stdin  func()         // starts the input pump
	output sync.WaitGroup // pumps that must finish before the run does
	input  *inputPump
}

func newStreams(s Streams) (*streams, error) {
	st := &streams{tty: s.terminal()}
	var slave *os.File
	if st.tty != nil {
		var err error
		if st.master, slave, err = pty.Open(); err != nil {
			return nil, err
		}
		st.agent.Terminal = slave
		st.ours = append(st.ours, slave)
		st.resize()
	}
	if err := st.connect(s, slave); err != nil {
		st.close()
		return nil, err
	}
	return st, nil
}

func (st *streams) connect(s Streams, slave *os.File) error {
	var err error
	if term.IsTerminal(int(s.In.Fd())) {
		st.agent.In, st.input = slave, &inputPump{from: s.In, to: st.master}
	} else {
		var w *os.File
		if st.agent.In, w, err = st.pipe(); err != nil {
			return err
		}
		st.input = &inputPump{from: s.In, to: w, closeAtEnd: true}
	}
	for _, o := range []struct {
		agent **os.File
		to    *os.File
	}{{&st.agent.Out, s.Out}, {&st.agent.Err, s.Err}} {
		if term.IsTerminal(int(o.to.Fd())) {
			*o.agent = slave
			continue
		}
		var r *os.File
		if r, *o.agent, err = os.Pipe(); err != nil {
			return err
		}
		st.ours = append(st.ours, *o.agent)
		st.pump(r, o.to)
	}
	if st.master != nil {
		// Also when only stdin is a terminal: the line discipline's echo goes there.
		st.pump(st.master, st.tty)
	}
	return nil
}

func (st *streams) pipe() (r, w *os.File, err error) {
	r, w, err = os.Pipe()
	if err == nil {
		st.ours = append(st.ours, r)
	}
	return r, w, err
}

// pump copies the agent's output until it ends. When the reader of our output is
// gone, the agent's pipe is closed, so that it gets SIGPIPE as it would directly.
func (st *streams) pump(from, to *os.File) {
	st.output.Add(1)
	go func() {
		defer st.output.Done()
		_, _ = io.Copy(to, from)
		if from != st.master {
			from.Close()
		}
	}()
}

// started closes this process's copies of what the agent now holds.
func (st *streams) started() {
	for _, f := range st.ours {
		f.Close()
	}
	st.ours = nil
}

// begin lets input flow. The agent's terminal starts with the caller's settings;
// the caller's goes raw.
func (st *streams) begin() error {
	if st.tty == nil {
		go st.input.run()
		return nil
	}
	if err := st.inherit(); err != nil {
		return err
	}
	return st.activate()
}

// activate takes the caller's terminal if this process is in its foreground; a
// background job may neither change nor read it (SIGTTOU, SIGTTIN), and takes it
// when it is brought to the front (SIGCONT).
func (st *streams) activate() error {
	front, err := unix.IoctlGetInt(int(st.tty.Fd()), unix.TIOCGPGRP)
	if err != nil || front != unix.Getpgrp() {
		return nil
	}
	state, err := term.MakeRaw(int(st.tty.Fd()))
	if err != nil {
		return err
	}
	if st.raw == nil {
		st.raw = state
		go st.input.run()
	}
	st.resize()
	return nil
}

// inherit copies the caller's terminal settings to the private one.
func (st *streams) inherit() error {
	t, err := unix.IoctlGetTermios(int(st.tty.Fd()), unix.TCGETS)
	if err != nil {
		return err
	}
	return unix.IoctlSetTermios(int(st.master.Fd()), unix.TCSETS, t)
}

func (st *streams) resize() {
	if st.master == nil {
		return
	}
	if size, err := pty.GetsizeFull(st.tty); err == nil {
		_ = pty.Setsize(st.master, size)
	}
}

// restore gives the caller's terminal back its settings.
func (st *streams) restore() {
	if st.raw != nil {
		_ = term.Restore(int(st.tty.Fd()), st.raw)
	}
}

// finish waits for the agent's last output. Call it once the sandbox is gone.
func (st *streams) finish() {
	st.output.Wait()
	st.close()
}

func (st *streams) close() {
	st.restore()
	st.started()
	if st.master != nil {
		st.master.Close()
	}
}

// inputPump copies the caller's input to the agent.
type inputPump struct {
	from, to   *os.File
	closeAtEnd bool
	onInput    func([]byte) // sees what was typed, after it has been passed on
}

func (p *inputPump) run() {
	buf := make([]byte, 32<<10)
	for {
		n, err := p.from.Read(buf)
		if n > 0 {
			if _, werr := p.to.Write(buf[:n]); werr != nil {
				break
			}
			if p.onInput != nil {
				p.onInput(buf[:n])
			}
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if p.closeAtEnd {
		p.to.Close()
	}
}
