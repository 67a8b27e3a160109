package seccomp

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

var audits = map[string]uint32{
	"amd64": unix.AUDIT_ARCH_X86_64,
	"arm64": unix.AUDIT_ARCH_AARCH64,
}

// Version counts the base filter: raise it with every change of what is compiled,
// so that an artifact of another firma is told from a damaged one.
const Version = 3

// Call is a system call of this machine's architecture.
type Call struct {
	Name string // as in syscalls(2)
	Nr   uint32
}

// Refusal is a group of calls that the base filter refuses whatever their
// arguments.
type Refusal struct {
	Calls []Call
	Errno unix.Errno // what the caller gets
	Why   string
}

// Base is what every filter refuses. No policy can take anything out of it.
func Base() []Refusal {
	return []Refusal{
		{[]Call{{"io_uring_setup", unix.SYS_IO_URING_SETUP}, {"io_uring_enter", unix.SYS_IO_URING_ENTER},
			{"io_uring_register", unix.SYS_IO_URING_REGISTER}},
			unix.ENOSYS, "work submitted by io_uring is not seen by this filter; clients fall back to ordinary calls"},
		{[]Call{{"clone3", unix.SYS_CLONE3}},
			unix.ENOSYS, "it takes its flags by pointer, so they can't be judged here; libc falls back to clone"},
		{[]Call{{"ptrace", unix.SYS_PTRACE}, {"process_vm_readv", unix.SYS_PROCESS_VM_READV},
			{"process_vm_writev", unix.SYS_PROCESS_VM_WRITEV}, {"pidfd_getfd", unix.SYS_PIDFD_GETFD}, {"kcmp", unix.SYS_KCMP}},
			unix.EPERM, "other processes of the sandbox, its pid 1 included, are not the agent's to drive"},
		{[]Call{{"setns", unix.SYS_SETNS}, {"mount", unix.SYS_MOUNT}, {"umount2", unix.SYS_UMOUNT2},
			{"pivot_root", unix.SYS_PIVOT_ROOT}, {"chroot", unix.SYS_CHROOT}, {"open_tree", unix.SYS_OPEN_TREE},
			{"move_mount", unix.SYS_MOVE_MOUNT}, {"fsopen", unix.SYS_FSOPEN}, {"fsconfig", unix.SYS_FSCONFIG},
			{"fsmount", unix.SYS_FSMOUNT}, {"fspick", unix.SYS_FSPICK}, {"mount_setattr", unix.SYS_MOUNT_SETATTR},
			{"open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT}},
			unix.EPERM, "mounts and namespaces are set before the agent starts"},
		{[]Call{{"bpf", unix.SYS_BPF}, {"perf_event_open", unix.SYS_PERF_EVENT_OPEN}, {"userfaultfd", unix.SYS_USERFAULTFD},
			{"fanotify_init", unix.SYS_FANOTIFY_INIT}, {"kexec_load", unix.SYS_KEXEC_LOAD},
			{"kexec_file_load", unix.SYS_KEXEC_FILE_LOAD}, {"init_module", unix.SYS_INIT_MODULE},
			{"finit_module", unix.SYS_FINIT_MODULE}, {"delete_module", unix.SYS_DELETE_MODULE}, {"reboot", unix.SYS_REBOOT},
			{"swapon", unix.SYS_SWAPON}, {"swapoff", unix.SYS_SWAPOFF}, {"acct", unix.SYS_ACCT},
			{"quotactl", unix.SYS_QUOTACTL}, {"quotactl_fd", unix.SYS_QUOTACTL_FD}, {"syslog", unix.SYS_SYSLOG},
			{"vhangup", unix.SYS_VHANGUP}, {"settimeofday", unix.SYS_SETTIMEOFDAY}, {"clock_settime", unix.SYS_CLOCK_SETTIME},
			{"lookup_dcookie", unix.SYS_LOOKUP_DCOOKIE}, {"nfsservctl", unix.SYS_NFSSERVCTL}},
			unix.EPERM, "kernel surface that no client needs and that exploits do"},
		{[]Call{{"keyctl", unix.SYS_KEYCTL}, {"add_key", unix.SYS_ADD_KEY}, {"request_key", unix.SYS_REQUEST_KEY}},
			unix.EPERM, "the launcher's session keyring would be inherited, with what it holds"},
		{archCalls, unix.EPERM, "legacy calls of this architecture that no client needs"},
	}
}

// branch is the rule of one call that depends on its arguments: its body runs
// with that call's number matched, and ends in a return on every path.
type branch struct {
	call    Call
	refused string // which arguments, for a reader
	body    []bpf.Instruction
}

// Condition is a call that the base filter refuses with some arguments, with
// EPERM.
type Condition struct {
	Name    string
	Refused string // which arguments
}

// Conditions lists the calls that the base filter judges by their arguments.
func Conditions() []Condition {
	var out []Condition
	for _, b := range conditional() {
		out = append(out, Condition{b.call.Name, b.refused})
	}
	return out
}

// newNamespaces is every CLONE_NEW* flag but CLONE_NEWTIME, whose bit is part of
// the exit signal in clone(2) and a flag only in unshare(2).
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

func conditional() []branch {
	branches := []branch{
		{Call{"clone", unix.SYS_CLONE}, "flags that make a namespace", refuseBits(0, newNamespaces)},
		{Call{"unshare", unix.SYS_UNSHARE}, "flags that make a namespace", refuseBits(0, newNamespaces|unix.CLONE_NEWTIME)},
		// The kernel reads 32 bits of the request: only those are compared, so
		// high bits hide nothing. TIOCSTI types into a terminal, TIOCLINUX pastes
		// into a console, TIOCSETD loads line disciplines.
		{Call{"ioctl", unix.SYS_IOCTL}, "TIOCSTI, TIOCLINUX, TIOCSETD, whatever the high bits", refuseValues(1, unix.TIOCSTI, unix.TIOCLINUX, unix.TIOCSETD)},
		{Call{"socket", unix.SYS_SOCKET}, "every family but IPv4, IPv6, and netlink of routing and netfilter", socketFamilies()},
		{Call{"socketpair", unix.SYS_SOCKETPAIR}, "datagram and raw pairs", connectedPairs()},
	}
	for _, m := range modeCalls {
		branches = append(branches, branch{m.call, "set-user-id and set-group-id bits", refuseBits(m.arg, unix.S_ISUID|unix.S_ISGID)})
	}
	return branches
}

// modeCall is a call that gives a file a mode, and which argument that is. A
// program with a set-id bit that the agent leaves in a workspace would run as the
// operator, as root under firma run as root, for every account of the host.
// Opening a file with such a mode needs no rule: writing to it clears the bits.
type modeCall struct {
	call Call
	arg  int
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
// interfaces), and netfilter netlink, which the stub needs and CloseSetup then
// takes away. AF_UNIX sockets are refused, since a socket file that some host
// process made in a mounted directory would answer; connectedPairs is the other
// way to get one.
func socketFamilies() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: lowWord(0), Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_INET, SkipTrue: 7},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_INET6, SkipTrue: 6},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_NETLINK, SkipTrue: 1},
		bpf.RetConstant{Val: retErrno(unix.EPERM)},
		bpf.LoadAbsolute{Off: lowWord(2), Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.NETLINK_ROUTE, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.NETLINK_NETFILTER, SkipTrue: 1},
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
