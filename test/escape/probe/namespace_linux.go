package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

var namespaceTechniques = map[string]technique{
	"unshare":       unshare,
	"unshare-user":  unshareUser,
	"clone":         cloneInto,
	"clone3":        clone3Into,
	"userns-mount":  usernsMount,
	"mount-tmpfs":   mountTmpfs,
	"mount-bind":    mountBind,
	"umount":        umount,
	"remount-rw":    remount,
	"pivot-root":    pivotRoot,
	"chroot":        changeRoot,
	"new-mount":     newMount,
	"open-tree":     openTree(unix.SYS_OPEN_TREE),
	"open-tree-new": openTree(sysOpenTreeAttr),
	"mount-setattr": mountSetattr,
	"setns":         setNamespace,
}

// sysOpenTreeAttr is open_tree_attr(2), Linux 6.15: the same number everywhere.
const sysOpenTreeAttr = 467

var namespaceFlags = map[string]uintptr{
	"mnt": unix.CLONE_NEWNS, "pid": unix.CLONE_NEWPID, "net": unix.CLONE_NEWNET, "ipc": unix.CLONE_NEWIPC,
	"uts": unix.CLONE_NEWUTS, "cgroup": unix.CLONE_NEWCGROUP, "user": unix.CLONE_NEWUSER, "time": unix.CLONE_NEWTIME,
}

func flagOf(args []string) (uintptr, error) {
	if len(args) != 1 || namespaceFlags[args[0]] == 0 {
		return 0, errUsage
	}
	return namespaceFlags[args[0]], nil
}

// unshare is NAMESPACE. A user namespace can't be had by a program with threads,
// so that one is tried with clone only.
func unshare(args []string) (string, error) {
	flag, err := flagOf(args)
	if err != nil {
		return "", err
	}
	runtime.LockOSThread()
	return "", unix.Unshare(int(flag))
}

// unshareUser asks in a child without threads, as a user namespace wants it. The
// child's exit status is the errno.
func unshareUser([]string) (string, error) {
	pid, err := forked(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0)
	if err != nil {
		return "clone", err
	}
	if pid == 0 {
		_, _, e := unix.RawSyscall(unix.SYS_UNSHARE, unix.CLONE_NEWUSER, 0, 0)
		unix.RawSyscall(unix.SYS_EXIT_GROUP, uintptr(e), 0, 0)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(int(pid), &status, 0, nil); err != nil {
		return "", err
	}
	if status.ExitStatus() != 0 {
		return "", unix.Errno(status.ExitStatus())
	}
	return "", nil
}

// cloneInto is NAMESPACE: a child made there ends at once.
func cloneInto(args []string) (string, error) {
	flag, err := flagOf(args)
	if err != nil {
		return "", err
	}
	pid, err := forked(unix.SYS_CLONE, flag|uintptr(unix.SIGCHLD), 0)
	return child(pid, err)
}

func clone3Into(args []string) (string, error) {
	flag, err := flagOf(args)
	if err != nil {
		return "", err
	}
	// struct clone_args, version 0.
	a := struct{ flags, pidfd, child, parent, exit, stack, size, tls uint64 }{flags: uint64(flag), exit: uint64(unix.SIGCHLD)}
	pid, err := forked(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&a)), unsafe.Sizeof(a))
	return child(pid, err)
}

// forked is a raw call: after another one the runtime may wait, in the child, for
// threads that only the parent has.
func forked(nr, a, b uintptr) (uintptr, error) {
	pid, _, e := unix.RawSyscall6(nr, a, b, 0, 0, 0, 0)
	if e != 0 {
		return 0, e
	}
	return pid, nil
}

// child ends the new process, in which this runs too, and collects it.
func child(pid uintptr, err error) (string, error) {
	if err != nil {
		return "", err
	}
	if pid == 0 {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	var status unix.WaitStatus
	_, err = unix.Wait4(int(pid), &status, 0, nil)
	return fmt.Sprint("made process ", pid), err
}

// usernsMount is PATH: in a new user and mount namespace, mount over PATH and bind
// the root elsewhere.
func usernsMount(args []string) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	cmd := exec.Command("/proc/self/exe", "mount-tmpfs", args[0])
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.Output()
	if err != nil {
		return "", err
	}
	return judgeChild(out)
}

func judgeChild(out []byte) (string, error) {
	r, err := parseResult(out)
	if err != nil {
		return "", err
	}
	if r.Result != succeeded {
		return "", &no{r.Errno + " " + r.Detail}
	}
	return r.Detail, nil
}

// private makes what follows harmless where it is allowed: on a host the mounts
// are made in a namespace that ends with this process. It tells when it was not
// to be had, as inside, where the attempt is then made on the namespace as it is.
func private() {
	runtime.LockOSThread()
	if unix.Unshare(unix.CLONE_NEWNS) == nil {
		_ = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	}
}

func mountTmpfs(args []string) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	private()
	return "mounted over " + args[0], unix.Mount("probe", args[0], "tmpfs", 0, "")
}

// mountBind is SOURCE TARGET.
func mountBind(args []string) (string, error) {
	if len(args) != 2 {
		return "", errUsage
	}
	private()
	return "", unix.Mount(args[0], args[1], "", unix.MS_BIND|unix.MS_REC, "")
}

func umount(args []string) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	private()
	return "", unix.Unmount(args[0], unix.MNT_DETACH)
}

func remount(args []string) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	private()
	return "", unix.Mount("", args[0], "", unix.MS_REMOUNT|unix.MS_BIND, "")
}

// pivotRoot uses the directory it is given as its own new root, which works only
// for a mount point: EINVAL is the answer of a kernel that was willing.
func pivotRoot(args []string) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	private()
	err := unix.PivotRoot(args[0], args[0])
	return fmt.Sprint("the kernel said: ", err), reached(err)
}

func changeRoot(args []string) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	return "", unix.Chroot(args[0])
}

// newMount makes a detached tmpfs with the newer calls.
func newMount([]string) (string, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return "fsopen", err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return "fsconfig", err
	}
	m, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return "fsmount", err
	}
	return "a detached mount", unix.Close(m)
}

// openTree is PATH: a detached copy of the mounts at PATH.
func openTree(nr uintptr) technique {
	return func(args []string) (string, error) {
		if len(args) != 1 {
			return "", errUsage
		}
		path, err := unix.BytePtrFromString(args[0])
		if err != nil {
			return "", err
		}
		const clone = 1
		dir := unix.AT_FDCWD
		fd, err := call(nr, uintptr(dir), uintptr(unsafe.Pointer(path)), clone|unix.O_CLOEXEC|unix.AT_RECURSIVE, 0, 0)
		if err != nil {
			return "", err
		}
		return "a copy of the mounts", unix.Close(int(fd))
	}
}

func mountSetattr(args []string) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	private()
	return "", unix.MountSetattr(unix.AT_FDCWD, args[0], 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY})
}

// setNamespace is PID: enter that process's namespaces, one kind at a time.
func setNamespace(args []string) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	runtime.LockOSThread()
	var last error
	for _, kind := range []string{"net", "ipc", "uts", "pid", "cgroup"} {
		fd, err := unix.Open(filepath.Join("/proc", args[0], "ns", kind), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, 0)
			_ = unix.Close(fd)
		}
		if err == nil {
			return "entered " + kind, nil
		}
		last = errors.Join(last, fmt.Errorf("%s: %w", kind, err))
	}
	return "", last
}
