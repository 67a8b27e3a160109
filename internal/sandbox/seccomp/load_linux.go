package seccomp

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Try loads filter into the kernel, on a thread of this process that ends with
// the call, and reports whether a call of the base is refused from then on.
func Try(filter []byte) error {
	if err := Check(filter); err != nil {
		return err
	}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its goroutine
		result <- try(filter)
	}()
	return <-result
}

func try(filter []byte) error {
	p := decode(filter)
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl(PR_SET_NO_NEW_PRIVS): %w", err)
	}
	raw := make([]unix.SockFilter, len(p))
	for i, in := range p {
		raw[i] = unix.SockFilter{Code: in.op, Jt: in.jt, Jf: in.jf, K: in.k}
	}
	if err := load(raw); err != nil {
		return err
	}
	// No such operation: without the filter the answer would be EOPNOTSUPP.
	if _, _, errno := unix.RawSyscall(unix.SYS_KEYCTL, ^uintptr(0), 0, 0); errno != unix.EPERM {
		return fmt.Errorf("the kernel loaded the filter, and yet keyctl answers %v", errno)
	}
	return nil
}

// load gives the calling thread one more filter.
func load(raw []unix.SockFilter) error {
	prog := unix.SockFprog{Len: uint16(len(raw)), Filter: &raw[0]}
	err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
	runtime.KeepAlive(raw)
	if err != nil {
		return fmt.Errorf("prctl(PR_SET_SECCOMP): %w", err)
	}
	return nil
}
