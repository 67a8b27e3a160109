package seccomp

import (
	"encoding/binary"
	"errors"
	"runtime"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// TestSetupRules: of all calls, only sockets of netlink other than routing's.
func TestSetupRules(t *testing.T) {
	raw, err := bpf.Assemble(setupRules(audits[runtime.GOARCH]))
	if err != nil {
		t.Fatal(err)
	}
	var filter []byte
	for _, in := range raw {
		filter = binary.LittleEndian.AppendUint16(filter, in.Op)
		filter = append(filter, in.Jt, in.Jf)
		filter = binary.LittleEndian.AppendUint32(filter, in.K)
	}
	if err := Check(filter); err != nil {
		t.Fatal(err)
	}
	vm, err := newMachine(filter)
	if err != nil {
		t.Fatal(err)
	}
	const high = 1 << 40
	native := audits[runtime.GOARCH]
	for _, c := range []struct {
		name     string
		arch, nr uint32
		args     []uint64
		want     uint32
	}{
		{"another architecture", unix.AUDIT_ARCH_I386, 1, nil, retKill},
		{"read", native, unix.SYS_READ, nil, retAllow},
		{"tcp", native, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM, unix.NETLINK_NETFILTER}, retAllow},
		{"route", native, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}, retAllow},
		{"netfilter", native, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER}, retErrno(unix.EPERM)},
		{"netfilter, high bits", native, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK | high, unix.SOCK_RAW, unix.NETLINK_NETFILTER | high}, retErrno(unix.EPERM)},
		{"audit", native, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_DGRAM, unix.NETLINK_AUDIT}, retErrno(unix.EPERM)},
	} {
		if got, err := vm.judge(c.arch, c.nr, c.args...); got != c.want || err != nil {
			t.Errorf("%s: %#x, want %#x (%v)", c.name, got, c.want, err)
		}
	}
}

// TestCloseSetup asks the kernel.
func TestCloseSetup(t *testing.T) {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its goroutine
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			result <- err
			return
		}
		if err := CloseSetup(); err != nil {
			result <- err
			return
		}
		if _, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER); err != unix.EPERM {
			result <- errors.New("a netfilter socket was made after all")
			return
		}
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
		if err == nil {
			unix.Close(fd)
		}
		result <- err
	}()
	if err := <-result; err != nil {
		t.Error(err)
	}
}
