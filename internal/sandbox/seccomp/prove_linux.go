package seccomp

import (
	"encoding/binary"
	"fmt"
	"runtime"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Prove runs the bytes of a filter in an interpreter and returns an error for the
// first call that it does not judge as it must: another architecture and another
// ABI, each refusal of the base, each of extra, and calls no program works
// without. It takes about a millisecond.
func Prove(filter []byte, extra []Call) error {
	if err := Check(filter); err != nil {
		return err
	}
	vm, err := newMachine(filter)
	if err != nil {
		return err
	}
	native := audits[runtime.GOARCH]
	for _, e := range expected(native, extra) {
		got, err := vm.judge(e.arch, e.nr, e.args...)
		if err != nil {
			return err
		}
		if got != e.want {
			return fmt.Errorf("it answers %#x to %s, and must answer %#x", got, e.name, e.want)
		}
	}
	return nil
}

type expectation struct {
	name     string
	arch, nr uint32
	args     []uint64
	want     uint32
}

func expected(native uint32, extra []Call) []expectation {
	es := []expectation{
		{"a call of another architecture", unix.AUDIT_ARCH_I386, 1, nil, retKill},
		{"an x32 call", native, 0x40000000, nil, retKill},
		{"clone with a new user namespace", native, unix.SYS_CLONE, []uint64{unix.CLONE_NEWUSER}, retErrno(unix.EPERM)},
		{"unshare of the user namespace", native, unix.SYS_UNSHARE, []uint64{unix.CLONE_NEWUSER}, retErrno(unix.EPERM)},
		{"ioctl TIOCSTI", native, unix.SYS_IOCTL, []uint64{0, unix.TIOCSTI | 1<<40}, retErrno(unix.EPERM)},
		{"socket AF_PACKET", native, unix.SYS_SOCKET, []uint64{unix.AF_PACKET, unix.SOCK_RAW}, retErrno(unix.EPERM)},
		{"socket AF_INET", native, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM}, retAllow},
		{"clone of a thread", native, unix.SYS_CLONE, []uint64{unix.CLONE_VM | unix.CLONE_THREAD}, retAllow},
	}
	for _, r := range append(Base(), Refusal{Calls: extra, Errno: unix.EPERM}) {
		for _, c := range r.Calls {
			es = append(es, expectation{c.Name, native, c.Nr, nil, retErrno(r.Errno)})
		}
	}
	for _, c := range []Call{{"read", unix.SYS_READ}, {"write", unix.SYS_WRITE}, {"openat", unix.SYS_OPENAT},
		{"execve", unix.SYS_EXECVE}, {"mmap", unix.SYS_MMAP}, {"futex", unix.SYS_FUTEX}, {"exit_group", unix.SYS_EXIT_GROUP}} {
		es = append(es, expectation{c.Name, native, c.Nr, nil, retAllow})
	}
	return es
}

// machine interprets a filter. golang.org/x/net/bpf loads big-endian, as from
// packets, so struct seccomp_data is laid out that way for it.
type machine struct{ vm *bpf.VM }

func newMachine(filter []byte) (*machine, error) {
	raw := make([]bpf.RawInstruction, 0, len(filter)/size)
	for _, in := range decode(filter) {
		raw = append(raw, bpf.RawInstruction{Op: in.op, Jt: in.jt, Jf: in.jf, K: in.k})
	}
	p, whole := bpf.Disassemble(raw)
	if !whole {
		return nil, fmt.Errorf("it holds an instruction that can't be interpreted")
	}
	vm, err := bpf.NewVM(p)
	return &machine{vm}, err
}

func (m *machine) judge(arch, nr uint32, args ...uint64) (uint32, error) {
	var data [dataSize]byte
	binary.BigEndian.PutUint32(data[offNr:], nr)
	binary.BigEndian.PutUint32(data[offArch:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[lowWord(i):], uint32(a))
		binary.BigEndian.PutUint32(data[lowWord(i)+4:], uint32(a>>32))
	}
	ret, err := m.vm.Run(data[:])
	return uint32(ret), err
}
