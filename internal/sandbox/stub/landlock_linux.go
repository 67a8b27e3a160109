package stub

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// isolate puts the agent-to-be in a Landlock domain (landlock(7)) that refuses
// nothing the agent could do anyway. What it brings is the domain itself: a
// process inside may not trace one outside, so bwrap's pid 1, which runs without
// the seccomp filter, can't be made to run the agent's code through
// /proc/1/mem. From ABI 6 on it can't be signalled either.
//
// Moving files between directories is refused to every domain that does not
// handle REFER (ABI 2), so it is handled, and allowed everywhere.
func isolate() (bool, error) {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return false, errno
	}
	if abi < 2 {
		return false, errors.New("the kernel's Landlock is older than ABI 2 (Linux 5.19)")
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK | unix.LANDLOCK_ACCESS_FS_REFER}
	size := unsafe.Offsetof(attr.Handled_access_net)
	if abi >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_SIGNAL | unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
		size = unsafe.Offsetof(attr.Quiet_access_fs)
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return false, errno
	}
	defer unix.Close(int(fd))
	if err := allowRefer(int(fd)); err != nil {
		return false, err
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return false, errno
	}
	return true, nil
}

func allowRefer(ruleset int) error {
	root, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(root)
	beneath := unix.LandlockPathBeneathAttr{Allowed_access: unix.LANDLOCK_ACCESS_FS_REFER, Parent_fd: int32(root)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset),
		unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&beneath)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
