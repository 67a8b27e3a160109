//go:build linux

package bwrap

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"firma/internal/fault"
	"firma/internal/spawn"
)

// newThread returns the thread bwrap is started from.
//
// bwrap binds the host's own device nodes. As an ordinary user the agent does not
// own them; as root it does, and could chmod the host's /dev/null. So as root the
// thread gets a mount namespace of its own, in which /dev holds nodes made for
// this run and owned by nobody; they vanish with the namespace.
func newThread() (*spawn.Thread, error) {
	if os.Geteuid() != 0 {
		return spawn.NewThread(nil)
	}
	t, err := spawn.NewThread(privateDevices)
	if err != nil {
		return nil, fault.Wrap(err, "SandboxSetupFailed", "private device nodes could not be made",
			"run firma as an ordinary user, or with CAP_SYS_ADMIN and CAP_MKNOD (which the root of a rootless container has not)")
	}
	return t, nil
}

func privateDevices() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare the mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	var nodes [16]unix.Stat_t
	for i, name := range deviceNodes {
		if err := unix.Stat("/dev/"+name, &nodes[i]); err != nil {
			return fmt.Errorf("/dev/%s: %w", name, err)
		}
	}
	pts, err := unix.Open("/dev/pts", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("/dev/pts: %w", err)
	}
	defer unix.Close(pts)
	if err := unix.Mount("tmpfs", "/dev", "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=0755,size=64k"); err != nil {
		return fmt.Errorf("mount a private /dev: %w", err)
	}
	for i, name := range deviceNodes {
		if err := node("/dev/"+name, nodes[i].Rdev); err != nil {
			return fmt.Errorf("make /dev/%s: %w", name, err)
		}
	}
	// The run's terminal is there; bwrap takes that one node.
	if err := unix.Mkdir("/dev/pts", 0o755); err != nil {
		return err
	}
	return unix.Mount(fmt.Sprintf("/proc/thread-self/fd/%d", pts), "/dev/pts", "", unix.MS_BIND, "")
}

const nobody = 65534

func node(path string, rdev uint64) error {
	if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(rdev)); err != nil {
		return err
	}
	if err := unix.Chmod(path, 0o666); err != nil { // the umask cut mknod's mode
		return err
	}
	return unix.Chown(path, nobody, nobody)
}
