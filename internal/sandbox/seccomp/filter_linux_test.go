package seccomp

import (
	"encoding/binary"
	"runtime"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// judge runs the filter on one call, in the interpreter of golang.org/x/net/bpf.
// That reads big-endian, as for packets, so struct seccomp_data is laid out so.
func judge(t *testing.T, arch, nr uint32, args ...uint64) uint32 {
	t.Helper()
	vm, err := bpf.NewVM(program(audits[runtime.GOARCH]))
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[offNr:], nr)
	binary.BigEndian.PutUint32(data[offArch:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[lowWord(i):], uint32(a))
		binary.BigEndian.PutUint32(data[lowWord(i)+4:], uint32(a>>32))
	}
	ret, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(ret)
}

func TestFilter(t *testing.T) {
	native := audits[runtime.GOARCH]
	eperm, enosys := retErrno(unix.EPERM), retErrno(unix.ENOSYS)
	const high = 1 << 40 // bits the kernel ignores in an ioctl request
	for _, c := range []struct {
		name string
		arch uint32
		nr   uint32
		args []uint64
		want uint32
	}{
		{"i386 numbers", unix.AUDIT_ARCH_I386, 102, nil, retKill},
		{"arm numbers", unix.AUDIT_ARCH_ARM, 1, nil, retKill},
		{"x32 read", native, 0x40000000, nil, retKill},
		{"x32 with a high number", native, 0x40000000 | 512, nil, retKill},
		{"read", native, unix.SYS_READ, nil, retAllow},
		{"execve", native, unix.SYS_EXECVE, nil, retAllow},
		{"io_uring_setup", native, unix.SYS_IO_URING_SETUP, nil, enosys},
		{"clone3", native, unix.SYS_CLONE3, nil, enosys},
		{"ptrace", native, unix.SYS_PTRACE, nil, eperm},
		{"mount", native, unix.SYS_MOUNT, nil, eperm},
		{"keyctl", native, unix.SYS_KEYCTL, nil, eperm},
		{"fork", native, unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}, retAllow},
		{"thread", native, unix.SYS_CLONE, []uint64{unix.CLONE_VM | unix.CLONE_THREAD | unix.CLONE_SIGHAND}, retAllow},
		{"clone user namespace", native, unix.SYS_CLONE, []uint64{unix.CLONE_NEWUSER | uint64(unix.SIGCHLD)}, eperm},
		{"clone network namespace", native, unix.SYS_CLONE, []uint64{unix.CLONE_NEWNET}, eperm},
		{"unshare files", native, unix.SYS_UNSHARE, []uint64{unix.CLONE_FILES}, retAllow},
		{"unshare user", native, unix.SYS_UNSHARE, []uint64{unix.CLONE_NEWUSER}, eperm},
		{"unshare time", native, unix.SYS_UNSHARE, []uint64{unix.CLONE_NEWTIME}, eperm},
		{"TIOCGWINSZ", native, unix.SYS_IOCTL, []uint64{0, unix.TIOCGWINSZ}, retAllow},
		{"TIOCSTI", native, unix.SYS_IOCTL, []uint64{0, unix.TIOCSTI}, eperm},
		{"TIOCSTI with high bits", native, unix.SYS_IOCTL, []uint64{0, unix.TIOCSTI | high}, eperm},
		{"TIOCLINUX with high bits", native, unix.SYS_IOCTL, []uint64{0, unix.TIOCLINUX | high}, eperm},
		{"inet", native, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM, 0}, retAllow},
		{"inet6", native, unix.SYS_SOCKET, []uint64{unix.AF_INET6, unix.SOCK_DGRAM, 0}, retAllow},
		{"netlink route", native, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}, retAllow},
		{"netlink netfilter", native, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER}, eperm},
		{"unix", native, unix.SYS_SOCKET, []uint64{unix.AF_UNIX, unix.SOCK_STREAM, 0}, eperm},
		{"unix, family with high bits", native, unix.SYS_SOCKET, []uint64{unix.AF_UNIX | high, unix.SOCK_STREAM, 0}, eperm},
		{"packet", native, unix.SYS_SOCKET, []uint64{unix.AF_PACKET, unix.SOCK_RAW, 3}, eperm},
		{"vsock", native, unix.SYS_SOCKET, []uint64{unix.AF_VSOCK, unix.SOCK_STREAM, 0}, eperm},
		{"alg", native, unix.SYS_SOCKET, []uint64{unix.AF_ALG, unix.SOCK_SEQPACKET, 0}, eperm},
		{"stream pair", native, unix.SYS_SOCKETPAIR, []uint64{unix.AF_UNIX, unix.SOCK_STREAM | unix.SOCK_CLOEXEC, 0}, retAllow},
		{"seqpacket pair", native, unix.SYS_SOCKETPAIR, []uint64{unix.AF_UNIX, unix.SOCK_SEQPACKET | unix.SOCK_NONBLOCK, 0}, retAllow},
		{"datagram pair", native, unix.SYS_SOCKETPAIR, []uint64{unix.AF_UNIX, unix.SOCK_DGRAM, 0}, eperm},
		{"datagram pair, flags and high bits", native, unix.SYS_SOCKETPAIR, []uint64{unix.AF_UNIX, unix.SOCK_DGRAM | unix.SOCK_CLOEXEC | high, 0}, eperm},
		{"raw pair", native, unix.SYS_SOCKETPAIR, []uint64{unix.AF_UNIX, unix.SOCK_RAW, 0}, eperm},
	} {
		if got := judge(t, c.arch, c.nr, c.args...); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, got, c.want)
		}
	}
}

func TestCompileIsDeterministic(t *testing.T) {
	a, err := Compile()
	if err != nil {
		t.Fatal(err)
	}
	b, _ := Compile()
	if string(a) != string(b) || len(a)%8 != 0 {
		t.Errorf("%d and %d bytes", len(a), len(b))
	}
}
