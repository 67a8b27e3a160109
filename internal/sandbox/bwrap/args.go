//go:build linux

package bwrap

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"firma/internal/sandbox"
)

// deviceNodes are what bwrap --dev binds from the /dev it starts in.
var deviceNodes = []string{"null", "zero", "full", "random", "urandom", "tty"}

// procMasks hide what /proc shows of the host beyond the sandbox's processes.
// The kernel guards /proc/sys by "uid 0 of the host", not by capability: under
// firma run as root the agent is that uid, and without the read-only mount it
// could set kernel.core_pattern. bwrap leaves /proc/sys writable.
var (
	procReadOnly = []string{"/proc/sys", "/proc/sysrq-trigger", "/proc/fs"}
	procHidden   = []string{"/proc/acpi", "/proc/kcore", "/proc/key-users", "/proc/keys", "/proc/kmsg",
		"/proc/kpagecgroup", "/proc/kpagecount", "/proc/kpageflags", "/proc/latency_stats", "/proc/mtrr",
		"/proc/sched_debug", "/proc/scsi", "/proc/slabinfo", "/proc/timer_list", "/proc/timer_stats",
		"/proc/vmallocinfo"}
)

// arguments are bwrap's options, NUL-separated as --args wants them. They go
// through a descriptor because /proc/1/cmdline is readable inside.
type arguments struct {
	buf bytes.Buffer
	// addFile registers a descriptor to inherit and returns its number in bwrap.
	addFile func(*os.File) int
}

func (a *arguments) add(words ...string) {
	for _, w := range words {
		a.buf.WriteString(w)
		a.buf.WriteByte(0)
	}
}

// isolation is the same for every run: what is shut off does not depend on the
// profile.
func (a *arguments) isolation(id sandbox.Identity) {
	a.add("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup")
	a.add("--die-with-parent", "--cap-drop", "ALL", "--clearenv")
	a.add("--setenv", "GOMAXPROCS", "1") // for the stub; the agent's environment is another
	a.add("--uid", strconv.Itoa(id.UID), "--gid", strconv.Itoa(id.GID), "--hostname", id.Hostname)
}

func (a *arguments) root(spec *sandbox.Spec) error {
	for _, op := range spec.Ops() {
		if err := a.op(op); err != nil {
			return err
		}
	}
	a.add("--proc", "/proc")
	for _, p := range procReadOnly {
		if exists(p) {
			a.add("--ro-bind", p, p)
		}
	}
	// An ordinary user can't read these anyway: DAC does the job.
	if os.Geteuid() == 0 {
		for _, p := range procHidden {
			a.hide(p)
		}
	}
	a.add("--dev", "/dev", "--remount-ro", "/")
	return nil
}

func (a *arguments) hide(p string) {
	st, err := os.Stat(p)
	switch {
	case err != nil:
	case st.IsDir():
		a.add("--tmpfs", p, "--remount-ro", p)
	default:
		a.add("--ro-bind", "/dev/null", p) // a read-only bind is nodev: opening it fails
	}
}

func (a *arguments) op(op sandbox.Op) error {
	switch {
	case op.Mount != nil && op.Mount.Writable:
		a.add("--bind", op.Mount.Source, op.Mount.Target)
	case op.Mount != nil:
		a.add("--ro-bind", op.Mount.Source, op.Mount.Target)
	case op.Private != nil:
		a.add("--perms", fmt.Sprintf("%04o", modeBits(op.Private.Mode)), "--tmpfs", op.Private.Path)
	case op.Symlink != nil:
		a.add("--symlink", op.Symlink.Target, op.Symlink.Path)
	case op.File != nil:
		f, err := memfd("file", op.File.Data)
		if err != nil {
			return err
		}
		how := "--file"
		if op.File.Over { // the mount can't be written to
			how = "--ro-bind-data"
		}
		a.add("--perms", "0444", how, strconv.Itoa(a.addFile(f)), op.File.Path)
	}
	return nil
}

func modeBits(m os.FileMode) uint32 {
	bits := uint32(m.Perm())
	if m&os.ModeSticky != 0 {
		bits |= 0o1000
	}
	return bits
}

func exists(p string) bool {
	_, err := os.Lstat(p)
	return err == nil
}
