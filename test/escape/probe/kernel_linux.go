package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Calls that a client needs nothing of and that reach around namespaces, or have
// been the way out before. Those with side effects get arguments that the kernel
// refuses only after it has asked for permission.
var kernelTechniques = map[string]technique{
	"io-uring":       uringTalk,
	"int80":          int80Talk,
	"x32":            x32Call,
	"bpf":            bpfMap,
	"keyctl":         keyring,
	"add-key":        addKey,
	"request-key":    requestKey,
	"userfaultfd":    userfault,
	"perf":           perfEvent,
	"fanotify":       fanotify,
	"kexec":          asked(unix.SYS_KEXEC_LOAD, 0, 0, 0, 0xffff),
	"kexec-file":     asked(unix.SYS_KEXEC_FILE_LOAD, noFD, noFD, 0, 0, 0xffff),
	"init-module":    initModule,
	"finit-module":   asked(unix.SYS_FINIT_MODULE, noFD, 0, 0xffff),
	"delete-module":  withPath(unix.SYS_DELETE_MODULE, "no_such_module_here"),
	"reboot":         asked(unix.SYS_REBOOT, 0, 0, 0),
	"swapoff":        withPath(unix.SYS_SWAPOFF, "/nonexistent/swap"),
	"syslog":         kernelLog,
	"clock-settime":  setClock,
	"open-by-handle": openByHandle,
}

const noFD = ^uintptr(0)

// asked makes a call and reports whether it got past the permission check.
func asked(nr uintptr, args ...uintptr) technique {
	return func([]string) (string, error) {
		_, err := call(nr, args...)
		return fmt.Sprint("the kernel said: ", err), reached(err)
	}
}

func withPath(nr uintptr, path string) technique {
	return func([]string) (string, error) {
		p, err := unix.BytePtrFromString(path)
		if err != nil {
			return "", err
		}
		_, err = call(nr, uintptr(unsafe.Pointer(p)))
		return fmt.Sprint("the kernel said: ", err), reached(err)
	}
}

// x32Call makes getpid by its x32 number.
func x32Call([]string) (string, error) {
	_, err := call(0x40000000 | unix.SYS_GETPID)
	return "", err
}

func bpfMap([]string) (string, error) {
	// union bpf_attr for BPF_MAP_CREATE: an array of one 4-byte entry.
	attr := struct{ kind, key, value, entries, flags uint32 }{2, 4, 4, 1, 0}
	fd, err := call(unix.SYS_BPF, 0, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if err != nil {
		return "", err
	}
	return "made a map", unix.Close(int(fd))
}

func keyring([]string) (string, error) {
	id, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true)
	return fmt.Sprint("session keyring ", id), err
}

func addKey([]string) (string, error) {
	id, err := unix.AddKey("user", "firma-probe", []byte("x"), unix.KEY_SPEC_PROCESS_KEYRING)
	return fmt.Sprint("key ", id), err
}

// requestKey asks for a key nobody has: ENOKEY is the kernel's full answer.
func requestKey([]string) (string, error) {
	_, err := unix.RequestKey("user", "firma-probe-absent", "", 0)
	return fmt.Sprint("the kernel said: ", err), reached(err)
}

func userfault([]string) (string, error) {
	const userModeOnly = 1
	fd, err := call(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|userModeOnly)
	if err != nil {
		return "", err
	}
	return "", unix.Close(int(fd))
}

func perfEvent([]string) (string, error) {
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_TASK_CLOCK, Bits: unix.PerfBitExcludeKernel | unix.PerfBitExcludeHv}
	attr.Size = uint32(unsafe.Sizeof(attr))
	fd, err := unix.PerfEventOpen(&attr, 0, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return "", err
	}
	return "", unix.Close(fd)
}

func fanotify([]string) (string, error) {
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_REPORT_FID|unix.FAN_CLOEXEC, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	return "", unix.Close(fd)
}

func initModule([]string) (string, error) {
	image, params := []byte("not a module"), []byte{0}
	_, err := call(unix.SYS_INIT_MODULE, uintptr(unsafe.Pointer(&image[0])), uintptr(len(image)), uintptr(unsafe.Pointer(&params[0])))
	return fmt.Sprint("the kernel said: ", err), reached(err)
}

// kernelLog reads the kernel's ring buffer.
func kernelLog([]string) (string, error) {
	buf := make([]byte, 4096)
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, buf)
	return fmt.Sprintf("%d bytes", n), err
}

// setClock sets the real-time clock to what it is.
func setClock([]string) (string, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
		return "", err
	}
	return "", unix.ClockSettime(unix.CLOCK_REALTIME, &now)
}

// openByHandle is PATH: turn a path into a handle and back, which leaves the mount
// namespace's view behind.
func openByHandle(args []string) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, args[0], 0)
	if err != nil {
		return "name_to_handle_at", err
	}
	mount, err := os.Open(args[0])
	if err != nil {
		return "", err
	}
	defer mount.Close()
	fd, err := unix.OpenByHandleAt(int(mount.Fd()), handle, unix.O_RDONLY)
	if err != nil {
		return "open_by_handle_at", err
	}
	return "", unix.Close(fd)
}

// socketBytes is a struct sockaddr_in as the kernel reads it.
func socketBytes(addr string) ([]byte, error) {
	_, to, err := sockaddr(addr)
	if err != nil {
		return nil, err
	}
	v4, ok := to.(*unix.SockaddrInet4)
	if !ok {
		return nil, fmt.Errorf("%s is not an IPv4 address", addr)
	}
	b := make([]byte, 16)
	binary.NativeEndian.PutUint16(b, unix.AF_INET)
	binary.BigEndian.PutUint16(b[2:], uint16(v4.Port))
	copy(b[4:], v4.Addr[:])
	return b, nil
}
