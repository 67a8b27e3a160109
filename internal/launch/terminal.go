//go:build linux

package launch

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

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
	tty    *os.File // the caller's terminal
	mixed  bool     // stdout or stderr goes elsewhere

	mu    sync.Mutex  // guards the next two
	modes *term.State // of tty, as the caller has them; valid while taken
	taken bool        // tty is raw

	ours []*os.File

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
		st.agent.In, st.input = slave, &inputPump{from: s.In, to: st.master, turn: st.turn}
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
		st.mixed = true
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

// begin readies the terminals: the agent's starts with the caller's settings, the
// caller's goes raw. Call flow once the agent runs: what is typed
// sooner would make signals for those who start it.
func (st *streams) begin() error {
	if st.tty == nil {
		return nil
	}
	// Reading as a background job must be an error to wait on, not a stop. Not
	// sooner: the agent would inherit it.
	signal.Ignore(syscall.SIGTTIN)
	if err := st.inherit(); err != nil {
		return err
	}
	return st.activate()
}

// flow passes input on from now on.
func (st *streams) flow() { go st.input.run() }

// front reports whether this process is in its terminal's foreground: a background
// job may neither change nor read it.
func (st *streams) front() (bool, error) {
	group, err := unix.IoctlGetInt(int(st.tty.Fd()), unix.TIOCGPGRP)
	return group == unix.Getpgrp(), err
}

// activate takes the caller's terminal, if it is this process's turn. Where input
// comes from elsewhere, nobody reads the keys, and the terminal keeps making signals
// of them.
func (st *streams) activate() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if front, err := st.front(); !front || err != nil {
		return nil
	}
	if st.input.turn != nil {
		if err := st.takeLocked(); err != nil {
			return err
		}
	}
	st.resize()
	return nil
}

func (st *streams) takeLocked() error {
	modes, err := term.MakeRaw(int(st.tty.Fd()))
	if err != nil {
		return err
	}
	if !st.taken {
		st.modes = modes
	}
	st.taken = true
	if st.mixed {
		return keepOutput(st.tty)
	}
	return nil
}

// keepOutput lets a raw terminal begin each line at its start: where firma run is
// part of a pipe, other programs write to it, too.
func keepOutput(tty *os.File) error {
	t, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		return err
	}
	t.Oflag |= unix.OPOST
	return unix.IoctlSetTermios(int(tty.Fd()), unix.TCSETS, t)
}

// frontEvery is how often a background job looks whether it is in front: a shell
// tells only those jobs that it had stopped (SIGCONT).
const frontEvery = 100 * time.Millisecond

// turn waits until this process may read the terminal, and has taken it; false when
// the terminal is gone.
func (st *streams) turn() bool {
	for {
		front, err := st.front()
		if err != nil {
			return false
		}
		if front {
			return st.isTaken() || st.activate() == nil
		}
		time.Sleep(frontEvery)
	}
}

func (st *streams) isTaken() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.taken
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
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.taken {
		_ = term.Restore(int(st.tty.Fd()), st.modes)
	}
	st.taken = false
}

// finish waits for the agent's last output to be read, until overdue is closed.
// Call it once the sandbox is gone.
func (st *streams) finish(overdue <-chan struct{}) {
	done := make(chan struct{})
	go func() {
		st.output.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-overdue:
	}
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
	turn       func() bool  // nil unless from is a terminal: waits until it may be read
	onInput    func([]byte) // sees what was typed, after it has been passed on
}

func (p *inputPump) run() {
	buf := make([]byte, 32<<10)
	for p.turn == nil || p.turn() {
		n, err := p.from.Read(buf)
		if n > 0 {
			if _, werr := p.to.Write(buf[:n]); werr != nil {
				break
			}
			if p.onInput != nil {
				p.onInput(buf[:n])
			}
		}
		// A terminal answers a background job with EIO; it may be its turn again.
		again := errors.Is(err, unix.EINTR) || p.turn != nil && errors.Is(err, unix.EIO)
		if err != nil && !again {
			break
		}
	}
	if p.closeAtEnd {
		p.to.Close()
	}
}
