package doctor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"firma/internal/testkit/world"
)

// A host is poorer than this machine for one command: the test binary, under the
// name of the poverty, takes something away from itself and becomes the command.
const prefix = "poor-host-"

func TestMain(m *testing.M) {
	if name, ok := strings.CutPrefix(filepath.Base(os.Args[0]), prefix); ok {
		fmt.Fprintln(os.Stderr, become(name, os.Args[1:]))
		os.Exit(99)
	}
	os.Exit(m.Run())
}

// become returns only on failure.
func become(name string, argv []string) error {
	runtime.LockOSThread()
	var err error
	switch name {
	case "nothing-missing":
	case "no-user-namespaces":
		err = deny([]refusal{
			{unix.SYS_CLONE, 0, unix.CLONE_NEWUSER, true},
			{unix.SYS_UNSHARE, 0, unix.CLONE_NEWUSER, true},
		})
	case "no-seccomp":
		err = deny([]refusal{{unix.SYS_PRCTL, 0, unix.PR_SET_SECCOMP, false}, {nr: unix.SYS_SECCOMP}})
	case "no-netlink":
		err = deny([]refusal{{unix.SYS_SOCKET, 0, unix.AF_NETLINK, false}})
	case "no-netfilter":
		err = deny([]refusal{{unix.SYS_SOCKET, 2, unix.NETLINK_NETFILTER, false}})
	case "no-landlock":
		err = deny([]refusal{{nr: unix.SYS_LANDLOCK_CREATE_RULESET}})
	case "no-processes": // threads are no matter
		err = deny([]refusal{{unix.SYS_CLONE, 0, unix.CLONE_VFORK, true}})
	case "proc-hidden": // the kernel shows a new /proc only to who sees all of an old one
		err = errors.Join(unix.Mount("/dev/null", "/proc/version", "", unix.MS_BIND, ""), dropAmbient())
	case "no-cgroups":
		err = errors.Join(unix.Mount("none", "/sys/fs/cgroup", "tmpfs", 0, ""), dropAmbient())
	case "no-roots":
		err = errors.Join(hideRoots(), dropAmbient())
	case "limit-zero":
		err = errors.Join(os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0), dropAmbient())
	case "nested":
		err = dropAmbient()
	default:
		err = errors.New("there is no host " + name)
	}
	if err != nil {
		return err
	}
	return unix.Exec(argv[0], argv, os.Environ())
}

// hideRoots covers the directories that hold root certificates.
func hideRoots() error {
	var failed error
	for _, dir := range []string{"/etc/ssl", "/etc/pki", "/var/lib/ca-certificates"} {
		if _, err := os.Stat(dir); err == nil {
			failed = errors.Join(failed, unix.Mount("none", dir, "tmpfs", 0, "mode=0755"))
		}
	}
	return failed
}

func dropAmbient() error {
	return unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
}

// refusal is a call that gets EPERM: always, or when an argument has this value or
// any of these bits.
type refusal struct {
	nr    uint32
	arg   uint32
	value uint32
	bits  bool
}

// deny installs a filter on this process for good, as a container's would be.
func deny(rs []refusal) error {
	const nrAt, argAt = 0, 16
	eperm := bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}
	p := []bpf.Instruction{bpf.LoadAbsolute{Off: nrAt, Size: 4},
		// Its flags are behind a pointer; without it libc uses clone.
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.SYS_CLONE3, SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)}}
	for _, r := range rs {
		body := []bpf.Instruction{eperm}
		if r.value != 0 {
			jump := bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: r.value, SkipTrue: 1}
			if r.bits {
				jump.Cond = bpf.JumpBitsNotSet
			}
			body = []bpf.Instruction{bpf.LoadAbsolute{Off: argAt + 8*r.arg, Size: 4}, jump, eperm, bpf.LoadAbsolute{Off: nrAt, Size: 4}}
		}
		p = append(append(p, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: r.nr, SkipTrue: uint8(len(body))}), body...)
	}
	raw, err := bpf.Assemble(append(p, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}))
	if err != nil {
		return err
	}
	var code []byte
	for _, in := range raw {
		code = binary.NativeEndian.AppendUint16(code, in.Op)
		code = append(code, in.Jt, in.Jf)
		code = binary.NativeEndian.AppendUint32(code, in.K)
	}
	prog := unix.SockFprog{Len: uint16(len(raw)), Filter: (*unix.SockFilter)(unsafe.Pointer(&code[0]))}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
}

// poorer is the program that becomes its arguments on a poorer host.
func poorer(t *testing.T, w *world.World, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(w.Base, "bin", prefix+name)
	if _, err := os.Stat(path); err != nil {
		world.CopyProgram(t, self, path)
	}
	return path
}

// nested starts a command in a user namespace of its own, with one right: to set
// that namespace's limits.
func nested(w *world.World) *syscall.SysProcAttr {
	const capSysResource = 24
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, AmbientCaps: []uintptr{capSysResource}}
	if os.Geteuid() == 0 {
		all := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 65534}}
		attr.UidMappings, attr.GidMappings, attr.GidMappingsEnableSetgroups = all, all, true
		if w.Account.Ordinary() {
			attr.Credential = &syscall.Credential{Uid: uint32(w.Account.UID), Gid: uint32(w.Account.GID)}
		}
		return attr
	}
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
	return attr
}

// apart starts a command in a mount namespace of its own, with the right to change it.
func apart(w *world.World) *syscall.SysProcAttr {
	const capSysAdmin = 21
	if os.Geteuid() != 0 {
		attr := nested(w)
		attr.Cloneflags |= syscall.CLONE_NEWNS
		attr.AmbientCaps = []uintptr{capSysAdmin}
		return attr
	}
	attr := &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, AmbientCaps: []uintptr{capSysAdmin}}
	if w.Account.Ordinary() {
		attr.Credential = &syscall.Credential{Uid: uint32(w.Account.UID), Gid: uint32(w.Account.GID)}
	}
	return attr
}
