package seccomp

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"runtime"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// judge runs the base filter on one call, in the interpreter.
func judge(t *testing.T, arch, nr uint32, args ...uint64) uint32 {
	t.Helper()
	return judgeBy(t, compile(t), arch, nr, args...)
}

func judgeBy(t *testing.T, filter []byte, arch, nr uint32, args ...uint64) uint32 {
	t.Helper()
	vm, err := newMachine(filter)
	if err != nil {
		t.Fatal(err)
	}
	ret, err := vm.judge(arch, nr, args...)
	if err != nil {
		t.Fatal(err)
	}
	return ret
}

func compile(t testing.TB, extra ...Call) []byte {
	t.Helper()
	filter, err := Compile(extra...)
	if err != nil {
		t.Fatal(err)
	}
	return filter
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
		{"netlink netfilter", native, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER}, retAllow},
		{"netlink audit", native, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT}, eperm},
		{"unix", native, unix.SYS_SOCKET, []uint64{unix.AF_UNIX, unix.SOCK_STREAM, 0}, eperm},
		{"unix, family with high bits", native, unix.SYS_SOCKET, []uint64{unix.AF_UNIX | high, unix.SOCK_STREAM, 0}, eperm},
		{"packet", native, unix.SYS_SOCKET, []uint64{unix.AF_PACKET, unix.SOCK_RAW, 3}, eperm},
		{"vsock", native, unix.SYS_SOCKET, []uint64{unix.AF_VSOCK, unix.SOCK_STREAM, 0}, eperm},
		{"alg", native, unix.SYS_SOCKET, []uint64{unix.AF_ALG, unix.SOCK_SEQPACKET, 0}, eperm},
		{"stream pair", native, unix.SYS_SOCKETPAIR, []uint64{unix.AF_UNIX, unix.SOCK_STREAM | unix.SOCK_CLOEXEC, 0}, retAllow},
		{"seqpacket pair", native, unix.SYS_SOCKETPAIR, []uint64{unix.AF_UNIX, unix.SOCK_SEQPACKET | unix.SOCK_NONBLOCK, 0}, retAllow},
		{"datagram pair", native, unix.SYS_SOCKETPAIR, []uint64{unix.AF_UNIX, unix.SOCK_DGRAM, 0}, eperm},
		{"datagram pair, flags and high bits", native, unix.SYS_SOCKETPAIR, []uint64{unix.AF_UNIX, unix.SOCK_DGRAM | unix.SOCK_CLOEXEC | high, 0}, eperm},
		{"fchmodat", native, unix.SYS_FCHMODAT, []uint64{0, 0, 0o755}, retAllow},
		{"fchmodat, sticky", native, unix.SYS_FCHMODAT, []uint64{0, 0, 0o1777}, retAllow},
		{"fchmodat set-user-id", native, unix.SYS_FCHMODAT, []uint64{0, 0, 0o4755}, eperm},
		{"fchmodat2 set-user-id", native, unix.SYS_FCHMODAT2, []uint64{0, 0, 0o4755}, eperm},
		{"fchmod set-group-id", native, unix.SYS_FCHMOD, []uint64{0, 0o2755}, eperm},
		{"raw pair", native, unix.SYS_SOCKETPAIR, []uint64{unix.AF_UNIX, unix.SOCK_RAW, 0}, eperm},
	} {
		if got := judge(t, c.arch, c.nr, c.args...); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, got, c.want)
		}
	}
}

func TestCompileIsDeterministic(t *testing.T) {
	a, b := compile(t), compile(t)
	if string(a) != string(b) || len(a)%8 != 0 {
		t.Errorf("%d and %d bytes", len(a), len(b))
	}
}

// golden is the hash of what Compile returns for each architecture, by Version.
var golden = map[string]string{
	"1 amd64": "8982860a4214ea4b229f725ae9cc9b67e4d28a3758380f3959bf0e6c7f5c051e",
	"2 amd64": "e13cee2a665cb87b93692f42ce905d31f241912f1effb9c2273ced1d4c64e656",
	"3 amd64": "446785ce3854260d51df0716e95e5433a19fc18ac37ce422106a7afa8cb6d487",
}

// TestVersionCountsTheFilter: an artifact names the version that made it, so two
// filters must not share one.
func TestVersionCountsTheFilter(t *testing.T) {
	want, known := golden[fmt.Sprint(Version, " ", runtime.GOARCH)]
	sum := sha256.Sum256(compile(t))
	got := hex.EncodeToString(sum[:])
	if !known && runtime.GOARCH != "amd64" {
		t.Skipf("no hash is recorded for %s yet: %s", runtime.GOARCH, got)
	}
	if got != want {
		t.Errorf("the base filter has changed: raise Version (and the second number of the shipped policy's version), and record %s", got)
	}
}

// TestNamesMatchNumbers compares with another project's table.
func TestNamesMatchNumbers(t *testing.T) {
	info, err := arch.GetInfo(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]uint32{}
	for _, r := range Base() {
		for _, c := range r.Calls {
			if _, twice := calls[c.Name]; twice {
				t.Errorf("%s is listed twice", c.Name)
			}
			calls[c.Name] = c.Nr
		}
	}
	for _, b := range conditional() {
		calls[b.call.Name] = b.call.Nr
	}
	for _, name := range Actions {
		extra, err := Action(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range extra {
			calls[c.Name] = c.Nr
		}
	}
	for name, nr := range calls {
		if got, known := info.SyscallNames[name]; known && got != int(nr) {
			t.Errorf("%s is %d, and there it is %d", name, nr, got)
		} else if !known {
			t.Logf("%s is not in that table", name)
		}
	}
}

func TestActions(t *testing.T) {
	for _, name := range Actions {
		extra, err := Action(name)
		if err != nil || len(extra) == 0 {
			t.Fatalf("%s: %v, %v", name, extra, err)
		}
		filter := compile(t, extra...)
		for _, c := range extra {
			native := audits[runtime.GOARCH]
			if got := judge(t, native, c.Nr); got != retAllow {
				t.Errorf("%s: the base answers %#x", c.Name, got)
			}
			if got := judgeBy(t, filter, native, c.Nr); got != retErrno(unix.EPERM) {
				t.Errorf("%s denied by %s: %#x", c.Name, name, got)
			}
		}
		if err := Prove(filter, extra); err != nil {
			t.Error(err)
		}
		if err := Prove(compile(t), extra); err == nil {
			t.Errorf("a filter without %s passes for one with it", name)
		}
	}
	for _, name := range []string{"system.execute", "system.install", "", "credential"} {
		if calls, err := Action(name); err == nil || calls != nil {
			t.Errorf("%q is an action: %v", name, calls)
		}
	}
}

// TestCheck: each kind of damage is seen without running the filter.
func TestCheck(t *testing.T) {
	good := compile(t)
	edit := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(good)) }
	for name, bad := range map[string][]byte{
		"empty":                 {},
		"cut within":            good[:len(good)-3],
		"no final return":       good[:len(good)-8],
		"another architecture":  edit(func(b []byte) []byte { b[12] ^= 1; return b }),
		"first check removed":   good[24:],
		"allow instead of kill": edit(func(b []byte) []byte { binary.LittleEndian.PutUint32(b[20:], retAllow); return b }),
		"jump past the end":     edit(func(b []byte) []byte { b[len(b)-16], b[len(b)-15], b[len(b)-14] = opEqual, 0, 9; return b }),
		"far jump":              edit(func(b []byte) []byte { b[len(b)-16] = opJump; b[len(b)-10] = 9; return b }),
		"unaligned load":        edit(func(b []byte) []byte { b[28] = 2; return b }),
		"load out of bounds":    edit(func(b []byte) []byte { b[28] = 64; return b }),
		"unknown operation":     edit(func(b []byte) []byte { b[24] = 0x16; return b }),
		"too long":              append(bytes.Repeat(good[:8], maxInstructions), good...),
	} {
		if Check(bad) == nil {
			t.Errorf("%s: passes", name)
		}
	}
	if err := Check(good); err != nil {
		t.Error(err)
	}
}

// TestTry loads the filter for real; the test's other threads stay free of it.
func TestTry(t *testing.T) {
	if err := Try(compile(t)); err != nil {
		t.Error(err)
	}
	if Try([]byte("12345678")) == nil {
		t.Error("nonsense was loaded")
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_KEYCTL, ^uintptr(0), 0, 0); errno == unix.EPERM {
		t.Error("the filter stayed on this thread")
	}
}

// FuzzCheck: whatever passes must be interpretable without a fault, and never
// allow another architecture's calls.
func FuzzCheck(f *testing.F) {
	good, err := Compile()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:64])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if Check(b) != nil {
			return
		}
		vm, err := newMachine(b)
		if err != nil {
			return // valid for the kernel, unknown to the interpreter
		}
		if got, err := vm.judge(unix.AUDIT_ARCH_I386, 1); err != nil || got != retKill {
			t.Fatalf("i386 write: %#x, %v", got, err)
		}
	})
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		if _, err := Compile(); err != nil {
			b.Fatal(err)
		}
	}
}
