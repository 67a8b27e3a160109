package doctor

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"firma/internal/control"
	"firma/internal/fault"
	"firma/internal/launch"
	"firma/internal/sandbox/bwrap"
)

// filters tries the syscall filter: its artifact, then the kernel.
func (x *exam) filters() {
	x.step("seccomp.artifact", x.artifact)
	x.step("seccomp.load", func() finding {
		return judge(x.plan.Prove(x.filter), "the kernel loads the filter and obeys it")
	})
}

func (x *exam) artifact() finding {
	var err error
	if x.plan, err = x.Launch.SeccompPlan(); err != nil {
		return bad(err)
	}
	if launch.CheckState(x.Launch.StateDir) != nil {
		x.filter = x.plan.Filter()
		return finding{status: Warn, reason: "not verified, since state.dir fails"}
	}
	var there bool
	x.filter, there, err = x.plan.Check()
	works := "verified"
	if !there {
		works = "none yet: the first run compiles it"
	}
	return judge(err, works).with(x.plan.Dir)
}

// sandbox builds the sandbox of a run, hands its sockets out and binds them, and
// executes a command in it, as firma run does.
func (x *exam) sandbox() {
	var box *bwrap.Process
	var socks control.Sockets
	x.step("sandbox.start", func() finding {
		var err error
		if box, socks, err = x.start(); err != nil {
			return bad(err)
		}
		return good(fmt.Sprintf("built from %d mounts, and its sockets handed over", len(x.view.Spec.Mounts)))
	})
	defer func() { socks.Close() }()
	if box != nil {
		limit := time.AfterFunc(patience, box.Kill)
		defer limit.Stop()
		defer box.Wait(context.Background())
		defer box.Kill()
	}
	x.step("sandbox.ports", func() finding { return judge(launch.Listen(socks), "127.0.0.1:18080 and :53 can be bound") })
	x.step("sandbox.capture", func() finding { return x.capture(socks) })
	x.step("sandbox.exec", func() finding { return judge(x.exec(box), "a command runs inside") })
	x.add("terminal.open", bwrapCategory, terminal())
}

// capture leads connections of the sandbox to listeners there, as a run does.
func (x *exam) capture(socks control.Sockets) finding {
	if !x.Launch.Transparent {
		return good("not wanted: transparent = false in the profile")
	}
	err := launch.ListenCapture(socks)
	if err == nil {
		err = launch.Redirect(socks)
	}
	if err == nil {
		err = launch.Route(socks, []netip.Prefix{netip.MustParsePrefix("198.18.0.0/15")})
	}
	works := "connections of clients that ignore the proxy can be led to the Sidecar"
	if socks[control.SocketCapture6] == nil {
		works += ", over IPv4 only"
	}
	return judge(err, works)
}

func (x *exam) start() (*bwrap.Process, control.Sockets, error) {
	var err error
	if x.view, err = launch.View(x.Launch); err != nil {
		return nil, nil, err
	}
	x.view.Spec.Seccomp = x.filter
	stdio, stop, err := streams()
	if err != nil {
		return nil, nil, err
	}
	defer stop()
	box, err := bwrap.Start(x.bwrap, &x.view.Spec, stdio)
	if err != nil {
		return nil, nil, err
	}
	limit := time.AfterFunc(patience, box.Kill)
	defer limit.Stop()
	socks, err := box.Sockets()
	if err != nil {
		box.Kill()
		box.Wait(context.Background())
		return nil, nil, err
	}
	return box, socks, nil
}

// streams are an empty input and outputs that are thrown away.
func streams() (bwrap.Stdio, func(), error) {
	in, none, err := os.Pipe()
	if err != nil {
		return bwrap.Stdio{}, nil, err
	}
	none.Close()
	read, write, err := os.Pipe()
	if err != nil {
		in.Close()
		return bwrap.Stdio{}, nil, err
	}
	go func() {
		_, _ = io.Copy(io.Discard, read)
		read.Close()
	}()
	return bwrap.Stdio{In: in, Out: write, Err: write}, func() { in.Close(); write.Close() }, nil
}

func (x *exam) exec(box *bwrap.Process) error {
	err := box.Exec(control.Exec{Argv: []string{"true"}, Env: x.view.Env, Dir: x.view.Dir, RequireLandlock: launch.LandlockABI() >= 2})
	if err != nil {
		return err
	}
	if exit := box.Wait(context.Background()); exit.Code != 0 || exit.Lost {
		return fault.New("SandboxSetupFailed", fmt.Sprintf("`true` ended with status %d inside", exit.Code), "run `firma run --profile generic -- sh` and look around")
	}
	return nil
}

// terminal is needed by a run that has one, so it fails only for a caller who has.
func terminal() finding {
	master, slave, err := pty.Open()
	if err == nil {
		master.Close()
		slave.Close()
		return good("a private terminal can be made")
	}
	f := bad(fmt.Errorf("no private terminal: %w", err))
	if !term.IsTerminal(0) && !term.IsTerminal(1) && !term.IsTerminal(2) {
		f.status = Warn
	}
	return f
}
