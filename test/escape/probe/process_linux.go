package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Techniques against other processes. PID is a number, or "1".
var processTechniques = map[string]technique{
	"kill":        killOne,
	"kill-all":    killAll,
	"ptrace":      onPID(trace),
	"vm-read":     onPID(readMemory),
	"vm-write":    onPID(writeMemory),
	"mem-open":    onPID(openMemory),
	"pidfd-getfd": onPID(stealDescriptor),
	"kcmp":        onPID(compare),
	"prlimit":     onPID(limit),
	"perf-pid":    onPID(watch),
	"orphan":      orphan,
	"linger":      linger,
}

func onPID(f func(pid int) (string, error)) technique {
	return func(args []string) (string, error) {
		if len(args) != 1 {
			return "", errUsage
		}
		pid, err := strconv.Atoi(args[0])
		if err != nil {
			return "", err
		}
		return f(pid)
	}
}

// orphan leaves a process behind: a session of its own, no parent, no streams.
func orphan([]string) (string, error) {
	cmd := exec.Command("/proc/self/exe", "linger")
	cmd.Args[0] = "probe"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	return fmt.Sprintf("left process %d", cmd.Process.Pid), cmd.Process.Release()
}

// linger ignores what it can and stays, until a minute has passed.
func linger([]string) (string, error) {
	signal.Ignore()
	time.Sleep(time.Minute)
	return "", nil
}

// killOne is PID SIGNAL.
func killOne(args []string) (string, error) {
	if len(args) != 2 {
		return "", errUsage
	}
	sig, err := strconv.Atoi(args[1])
	if err != nil {
		return "", err
	}
	return onPID(func(pid int) (string, error) { return "", unix.Kill(pid, unix.Signal(sig)) })(args[:1])
}

// killAll ends every process it may signal. Never run it outside.
func killAll(args []string) (string, error) {
	if len(args) != 1 || args[0] != "inside" || os.Getpid() > 64 {
		return "", errors.New("only for a small pid namespace")
	}
	return "", unix.Kill(-1, unix.SIGKILL)
}

func trace(pid int) (string, error) {
	runtime.LockOSThread()
	if err := unix.PtraceSeize(pid); err != nil {
		return "", err
	}
	return "seized", nil // the tracer's end lets go
}

// mapped is an address that is mapped in the process: the start of its program.
func mapped(pid int) (uintptr, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, err
	}
	var start uintptr
	if _, err := fmt.Sscanf(string(data), "%x-", &start); err != nil {
		return 0, &no{"its memory map is empty"}
	}
	return start, nil
}

func readMemory(pid int) (string, error) {
	at, err := mapped(pid)
	if err != nil {
		at = 0x400000 // guess, so that the call itself is tried
	}
	buf := make([]byte, 16)
	local := []unix.Iovec{{Base: &buf[0], Len: 16}}
	n, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: at, Len: 16}}, 0)
	return fmt.Sprintf("%d bytes", n), err
}

// writeMemory asks with an address that is never mapped: EFAULT means allowed.
func writeMemory(pid int) (string, error) {
	buf := []byte{0}
	local := []unix.Iovec{{Base: &buf[0], Len: 1}}
	_, err := unix.ProcessVMWritev(pid, local, []unix.RemoteIovec{{Base: 1, Len: 1}}, 0)
	if errors.Is(err, unix.EFAULT) {
		return "only the address was wrong", nil
	}
	return "", err
}

func openMemory(pid int) (string, error) {
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/mem", pid), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	return "", unix.Close(fd)
}

func stealDescriptor(pid int) (string, error) {
	p, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return "pidfd_open", err
	}
	defer unix.Close(p)
	for n := range 16 {
		var fd int
		if fd, err = unix.PidfdGetfd(p, n, 0); err == nil {
			return fmt.Sprintf("took descriptor %d", n), unix.Close(fd)
		}
	}
	return "pidfd_getfd", err
}

func compare(pid int) (string, error) {
	_, err := call(unix.SYS_KCMP, uintptr(os.Getpid()), uintptr(pid), 2 /* KCMP_FILES */, 0, 0)
	return "", err
}

// limit reads and sets again the limit of open files of another process.
func limit(pid int) (string, error) {
	var old unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &old); err != nil {
		return "", err
	}
	return "", unix.Prlimit(pid, unix.RLIMIT_NOFILE, &old, nil)
}

func watch(pid int) (string, error) {
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_TASK_CLOCK, Bits: unix.PerfBitExcludeKernel | unix.PerfBitExcludeHv}
	attr.Size = uint32(unsafe.Sizeof(attr))
	fd, err := unix.PerfEventOpen(&attr, pid, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return "", err
	}
	return "", unix.Close(fd)
}

func parseResult(out []byte) (Result, error) {
	var r Result
	err := json.Unmarshal(out, &r)
	return r, err
}

// pids are the processes this procfs shows, this one left out.
func pids() []string {
	entries, _ := os.ReadDir("/proc")
	var found []string
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && n != os.Getpid() {
			found = append(found, filepath.Join("/proc", e.Name()))
		}
	}
	return found
}
