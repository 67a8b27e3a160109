//go:build unix

package stack

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"firma/internal/fault"
	"firma/internal/marker"
)

// settle is how long processes that were killed may take to be gone.
const settle = 2 * time.Second

// Stopped says how Stop ended a process.
type Stopped struct {
	Name   string // sidecar, supervisor or authority
	PID    int
	Killed bool // it did not end by itself in time
}

// Stop ends the stack of the state directory: the Sidecar, then the supervisor,
// then the Authority. Each may take timeout to end by itself. It returns what it
// ended, nothing when no stack runs.
func Stop(stateDir string, timeout time.Duration) ([]Stopped, error) {
	var done []Stopped
	for _, p := range []struct{ name, file string }{{sidecarRole, sidecarRole + ".pid"}, {"supervisor", pidFile}, {authorityRole, authorityRole + ".pid"}} {
		path := filepath.Join(stateDir, p.file)
		pid, born, err := marker.ReadPID(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return done, fault.Wrap(err, "StackNotStopped", path+" can't be used", "end the process by hand, and remove the file")
		}
		if marker.StateOf(pid, born) != marker.Stopped {
			killed, err := endProcess(pid, born, timeout)
			if err != nil {
				return done, fault.Wrap(err, "StackNotStopped", "the "+p.name+" process could not be ended", "end it with the account that started it")
			}
			done = append(done, Stopped{p.name, pid, killed})
		}
		removeFiles(stateDir, p.file)
	}
	return done, nil
}

// removeFiles takes away what a supervisor that was killed could not.
func removeFiles(stateDir, pid string) {
	_ = os.Remove(filepath.Join(stateDir, pid))
	if pid != pidFile {
		_ = os.Remove(filepath.Join(stateDir, pid[:len(pid)-len(".pid")]+".listen"))
	}
}

// endProcess asks, asks again without patience, and kills.
func endProcess(pid int, born uint64, timeout time.Duration) (killed bool, err error) {
	for _, step := range []struct {
		sig  syscall.Signal
		wait time.Duration
	}{{syscall.SIGTERM, timeout}, {syscall.SIGTERM, time.Second}, {syscall.SIGKILL, settle}} {
		if !marker.Alive(pid, born) {
			return killed, nil
		}
		if err := syscall.Kill(pid, step.sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return killed, err
		}
		killed = step.sig == syscall.SIGKILL
		if gone(pid, born, step.wait) {
			return killed, nil
		}
	}
	return killed, errors.New("it is still there")
}

// gone waits for the end of a process that is no child of this one.
func gone(pid int, born uint64, wait time.Duration) bool {
	for end := time.Now().Add(wait); ; time.Sleep(5 * time.Millisecond) {
		if marker.StateOf(pid, born) == marker.Stopped {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}
