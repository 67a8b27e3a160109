package seccomp

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

var audits = map[string]uint32{
	"amd64": unix.AUDIT_ARCH_X86_64,
	"arm64": unix.AUDIT_ARCH_AARCH64,
}

type rule struct {
	nr    uint32
	errno unix.Errno
}

// denied lists the calls refused whatever their arguments.
func denied() []rule {
	rules := make([]rule, 0, 64)
	add := func(e unix.Errno, nrs ...uint32) {
		for _, nr := range nrs {
			rules = append(rules, rule{nr, e})
		}
	}
	// Work submitted by io_uring is not seen by this filter. ENOSYS makes
	// clients fall back to ordinary calls.
	add(unix.ENOSYS, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER)
	// clone3 takes its flags by pointer, so they can't be judged here; libc falls
	// back to clone.
	add(unix.ENOSYS, unix.SYS_CLONE3)
	// Other processes of the sandbox, its pid 1 included, are not ours to drive.
	add(unix.EPERM, unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV,
		unix.SYS_PIDFD_GETFD, unix.SYS_KCMP)
	// Mounts and namespaces are set before the agent starts.
	add(unix.EPERM, unix.SYS_SETNS, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT,
		unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT,
		unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR, unix.SYS_OPEN_BY_HANDLE_AT)
	// Kernel surface that no client needs and that exploits do.
	add(unix.EPERM, unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_FANOTIFY_INIT,
		unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE,
		unix.SYS_DELETE_MODULE, unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT,
		unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD, unix.SYS_SYSLOG, unix.SYS_VHANGUP,
		unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_LOOKUP_DCOOKIE, unix.SYS_NFSSERVCTL)
	// The launcher's session keyring would be inherited, with what it holds.
	add(unix.EPERM, unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY)
	add(unix.EPERM, archDenied...)
	return rules
}

// branch is the rule of one call that depends on its arguments: its body runs
// with that call's number matched, and ends in a return on every path.
type branch struct {
	nr   uint32
	body []bpf.Instruction
}

// newNamespaces is every CLONE_NEW* flag but CLONE_NEWTIME, whose bit is part of
// the exit signal in clone(2) and a flag only in unshare(2).
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

func conditional() []branch {
	return []branch{
		{unix.SYS_CLONE, refuseBits(0, newNamespaces)},
		{unix.SYS_UNSHARE, refuseBits(0, newNamespaces|unix.CLONE_NEWTIME)},
		// The kernel reads 32 bits of the request: only those are compared, so
		// high bits hide nothing. TIOCSTI types into a terminal, TIOCLINUX pastes
		// into a console, TIOCSETD loads line disciplines.
		{unix.SYS_IOCTL, refuseValues(1, unix.TIOCSTI, unix.TIOCLINUX, unix.TIOCSETD)},
		{unix.SYS_SOCKET, socketFamilies()},
		{unix.SYS_SOCKETPAIR, connectedPairs()},
	}
}

func refuseBits(arg int, bits uint32) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: lowWord(arg), Size: 4},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: bits, SkipFalse: 1},
		bpf.RetConstant{Val: retErrno(unix.EPERM)},
		bpf.RetConstant{Val: retAllow},
	}
}

func refuseValues(arg int, values ...uint32) []bpf.Instruction {
	p := []bpf.Instruction{bpf.LoadAbsolute{Off: lowWord(arg), Size: 4}}
	for _, v := range values {
		p = append(p,
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: v, SkipTrue: 1},
			bpf.RetConstant{Val: retErrno(unix.EPERM)})
	}
	return append(p, bpf.RetConstant{Val: retAllow})
}

// socketFamilies allows IPv4, IPv6 and routing netlink (getaddrinfo lists
// interfaces). AF_UNIX sockets are refused, since a socket file that some host
// process made in a mounted directory would answer; connectedPairs is the other
// way to get one.
func socketFamilies() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: lowWord(0), Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_INET, SkipTrue: 6},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_INET6, SkipTrue: 5},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_NETLINK, SkipTrue: 1},
		bpf.RetConstant{Val: retErrno(unix.EPERM)},
		bpf.LoadAbsolute{Off: lowWord(2), Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.NETLINK_ROUTE, SkipTrue: 1},
		bpf.RetConstant{Val: retErrno(unix.EPERM)},
		bpf.RetConstant{Val: retAllow},
	}
}

// connectedPairs allows the socketpair(2) of two stream or two seqpacket sockets,
// which runtimes use for their pipes: these stay bound to each other. A datagram
// socket, and SOCK_RAW is another word for it, takes a new address with each
// sendto(2), and so would reach every socket file after all.
func connectedPairs() []bpf.Instruction {
	const typeMask = 0xf // SOCK_TYPE_MASK: without SOCK_CLOEXEC and SOCK_NONBLOCK
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: lowWord(1), Size: 4},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: typeMask},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SOCK_STREAM, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SOCK_SEQPACKET, SkipTrue: 1},
		bpf.RetConstant{Val: retErrno(unix.EPERM)},
		bpf.RetConstant{Val: retAllow},
	}
}
