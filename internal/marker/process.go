package marker

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// State is what is known about a process.
type State string

// The states. Unhealthy is a process that is there and does not do its work.
const (
	Running   State = "running"
	Unhealthy State = "unhealthy"
	Stopped   State = "stopped"
	Unknown   State = "unknown"
)

// WritePID writes the file of a process: its pid, and on a second line what tells
// it from a later process with the same pid.
func WritePID(path string, pid int) error {
	temp := path + ".new"
	if err := os.WriteFile(temp, fmt.Appendf(nil, "%d\n%d\n", pid, Born(pid)), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// ReadPID reads a file of WritePID. A file of one line has no born.
func ReadPID(path string) (pid int, born uint64, err error) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, 0, err
	}
	if !info.Mode().IsRegular() || info.Size() > 64 {
		return 0, 0, fmt.Errorf("%s is not the file of a process", filepath.Base(path))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	first, second, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
	if pid, err = strconv.Atoi(strings.TrimSpace(first)); err != nil || pid <= 1 {
		return 0, 0, fmt.Errorf("%s holds no process id", filepath.Base(path))
	}
	born, _ = strconv.ParseUint(strings.TrimSpace(second), 10, 64)
	return pid, born, nil
}

// fields are those of /proc/PID/stat (proc(5)) from the third on: the second is in
// parentheses and may hold anything. None where there is no such file.
func fields(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return nil
	}
	return strings.Fields(string(b[i+1:]))
}

// Born is when the process started, in ticks since the system did; 0 when nobody
// says.
func Born(pid int) uint64 {
	f := fields(pid)
	if len(f) < 20 {
		return 0
	}
	n, _ := strconv.ParseUint(f[19], 10, 64) // field 22
	return n
}
