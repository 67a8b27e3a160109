// Package stub is the first program inside a new sandbox. It makes the sockets
// that the Sidecar will serve, hands them out, and becomes the agent: nothing of
// firma stays behind, in memory, on a descriptor or on disk.
//
// It runs before the agent and with the agent's own rights; the decisions
// (addresses, ports, rules) are the launcher's. It uses system calls directly
// where a Go package would start threads or pollers that outlive their use.
package stub

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"firma/internal/control"
	"firma/internal/sandbox/seccomp"
)

// Arg is the first argument that makes the firma binary run as the stub; the
// second is the number of its control descriptor.
const Arg = "__sandbox-init"

// Probe in place of that number makes the stub end at once, with success: the
// program was reached.
const Probe = "probe"

// Stdio are the descriptors, after the control descriptor, that become 0, 1, 2.
const stdio = 3

// Main hands out the sockets and execs the agent. It returns only on failure,
// with the exit status for the process; the launcher has then been told why.
func Main(args []string) int {
	runtime.LockOSThread() // Landlock and the signal mask are per thread
	if len(args) != 1 {
		return 125
	}
	if args[0] == Probe {
		return 0
	}
	ctl, err := strconv.Atoi(args[0])
	if err != nil {
		return 125
	}
	err = run(ctl)
	report(ctl, err)
	return 125
}

func run(ctl int) error {
	unix.CloseOnExec(ctl)
	if err := handOver(ctl); err != nil {
		return err
	}
	isolated, lerr := isolate()
	x, err := await(ctl)
	if err != nil {
		return err
	}
	if x.RequireLandlock && !isolated {
		return step("isolate from pid 1 (landlock)", lerr)
	}
	if err := verify(x.Pins); err != nil {
		return err
	}
	return become(ctl, x)
}

// verify compares what is mounted with what the launcher judged.
func verify(pins []control.Pin) error {
	for _, p := range pins {
		var st unix.Stat_t
		if err := unix.Stat(p.Path, &st); err != nil {
			return step("find "+p.Path, err)
		}
		if uint64(st.Dev) != p.Dev || st.Ino != p.Ino {
			return errors.New(p.Path + " is not what was checked: it was exchanged while the sandbox was set up")
		}
	}
	return nil
}

// sockets makes them unbound: the launcher binds, with its own credentials, so
// low ports need no capability in here. The netlink ones carry the launcher's
// orders, too: this process could give none. What the kernel lacks of those that
// only capture needs is left out.
func sockets() ([]control.Socket, []int, error) {
	var names []control.Socket
	var fds []int
	for _, s := range []struct {
		name               control.Socket
		domain, typ, proto int
		optional           bool
	}{
		{control.SocketProxy, unix.AF_INET, unix.SOCK_STREAM, 0, false},
		{control.SocketDNS, unix.AF_INET, unix.SOCK_DGRAM, 0, false},
		{control.SocketDNSTCP, unix.AF_INET, unix.SOCK_STREAM, 0, false},
		{control.SocketCapture, unix.AF_INET, unix.SOCK_STREAM, 0, true},
		{control.SocketCapture6, unix.AF_INET6, unix.SOCK_STREAM, 0, true},
		{control.SocketRoute, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE, true},
		{control.SocketNetfilter, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER, true},
	} {
		fd, err := unix.Socket(s.domain, s.typ|unix.SOCK_CLOEXEC, s.proto)
		switch {
		case err == nil:
			names, fds = append(names, s.name), append(fds, fd)
		case !s.optional:
			return nil, nil, step("make the Sidecar's sockets", err)
		}
	}
	return names, fds, nil
}

// handOver passes the sockets out and keeps none of them.
func handOver(ctl int) error {
	names, fds, err := sockets()
	if err != nil {
		return err
	}
	msg, _ := json.Marshal(control.Message{Kind: control.KindSockets, Sockets: names})
	if err := unix.Sendmsg(ctl, msg, unix.UnixRights(fds...), nil, 0); err != nil {
		return step("hand over the sockets", err)
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
	return step("give up what only the setup needs (seccomp)", seccomp.CloseSetup())
}

// await blocks until the launcher says exec. Its silence is the launcher's death.
func await(ctl int) (*control.Exec, error) {
	n, err := retry(func() (int, error) {
		n, _, err := unix.Recvfrom(ctl, make([]byte, 1), unix.MSG_PEEK|unix.MSG_TRUNC)
		return n, err
	})
	if err != nil || n == 0 || n > control.MaxMessage {
		return nil, errors.New("the launcher is gone")
	}
	buf := make([]byte, n)
	n, err = retry(func() (int, error) { return unix.Read(ctl, buf) })
	if err != nil || n == 0 {
		return nil, errors.New("the launcher is gone")
	}
	var m control.Message
	if err := json.Unmarshal(buf[:n], &m); err != nil || m.Kind != control.KindExec || m.Exec == nil || len(m.Exec.Argv) == 0 {
		return nil, errors.New("unexpected message from the launcher")
	}
	return m.Exec, nil
}

func become(ctl int, x *control.Exec) error {
	if err := unix.Chdir(x.Dir); err != nil {
		return step("enter "+x.Dir, err)
	}
	for i := range stdio {
		if err := unix.Dup3(ctl+1+i, i, 0); err != nil {
			return step("set up standard streams", err)
		}
	}
	if x.Terminal {
		if err := foreground(); err != nil {
			return step("take the terminal", err)
		}
	}
	path, err := program(x)
	if err != nil {
		return err
	}
	// CLOEXEC rather than close: the control descriptor must live to carry the
	// error if exec fails, and its closing by exec tells that it worked.
	if err := unix.CloseRange(stdio, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return step("close descriptors", err)
	}
	return execError(path, unix.Exec(path, x.Argv, x.Env))
}

// foreground puts the agent in its own process group in front of the terminal.
// Its parent, pid 1, is in the same session but another group, so the group is
// not orphaned and Ctrl-Z stops it as it would on the host.
func foreground() error {
	if err := unix.Setpgid(0, 0); err != nil {
		return err
	}
	// A background group that sets the foreground gets SIGTTOU; blocked, the call
	// goes through (tcsetpgrp(3)).
	var set, old unix.Sigset_t
	set.Val[(unix.SIGTTOU-1)/64] |= 1 << ((unix.SIGTTOU - 1) % 64)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, &old); err != nil {
		return err
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	tty, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC, 0) // which of 0, 1, 2 it is does not matter
	if err != nil {
		return err
	}
	defer unix.Close(tty)
	return unix.IoctlSetPointerInt(tty, unix.TIOCSPGRP, os.Getpid())
}

// program is the file to execute: the one that the command gate was asked about,
// if there was one, and only while it is that very file.
func program(x *control.Exec) (string, error) {
	if x.Program == nil {
		return lookup(x.Argv[0], x.Env)
	}
	p := x.Program
	if err := executable(p.Path); err != nil {
		return "", err
	}
	var st unix.Stat_t
	if err := unix.Stat(p.Path, &st); err != nil {
		return "", notFound(p.Path)
	}
	seen := control.Program{Path: p.Path, Dev: uint64(st.Dev), Ino: st.Ino, Size: st.Size, ChangedS: int64(st.Ctim.Sec), ChangedNs: int64(st.Ctim.Nsec)}
	if seen != *p {
		return "", &Error{Status: statusRefused, Text: p.Path + " is no longer the file that the command gate was asked about; nothing was executed"}
	}
	return p.Path, nil
}

// lookup finds an executable as execvp(3) does, in the sandbox's own view.
func lookup(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, executable(name)
	}
	found := notFound(name)
	for _, dir := range filepath.SplitList(pathOf(env)) {
		if dir == "" {
			dir = "."
		}
		p := filepath.Join(dir, name)
		err := executable(p)
		if err == nil {
			return p, nil
		}
		var e *Error
		if errors.As(err, &e) && e.Status == statusNotExecutable {
			found = err
		}
	}
	return "", found
}

func executable(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return notFound(path)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR || unix.Access(path, unix.X_OK) != nil {
		return &Error{Status: statusNotExecutable, Text: path + " is not executable inside the sandbox"}
	}
	return nil
}

func pathOf(env []string) string {
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			return v
		}
	}
	return "/usr/local/bin:/usr/bin:/bin"
}

func retry(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != unix.EINTR {
			return n, err
		}
	}
}

func step(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
