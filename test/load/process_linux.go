package load

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpuOfProcess is CPUCLOCK_SCHED of <linux/posix-timers.h>: the clock of the CPU
// time of a whole process, its ended threads included, in nanoseconds.
const cpuOfProcess = 2

// CPU returns the CPU time, user and system, that pid and its descendants have
// used. Descendants that ended are not in it.
func CPU(pid int) (time.Duration, error) {
	var sum time.Duration
	for _, p := range Tree(pid) {
		var ts unix.Timespec
		if err := unix.ClockGettime(int32(^p<<3|cpuOfProcess), &ts); err != nil {
			if p == pid {
				return 0, fmt.Errorf("the CPU time of process %d: %w", pid, err)
			}
			continue
		}
		sum += time.Duration(ts.Nano())
	}
	return sum, nil
}

// Tree returns pid and its descendants.
func Tree(pid int) []int {
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i]))
		for _, l := range lists {
			b, _ := os.ReadFile(l)
			for _, f := range strings.Fields(string(b)) {
				if n, err := strconv.Atoi(f); err == nil {
					all = append(all, n)
				}
			}
		}
	}
	return all
}

// State is what a process holds.
type State struct {
	RSS     int64 // bytes resident
	FDs     int
	Threads int
}

// Look returns what pid holds now.
func Look(pid int) (State, error) {
	var s State
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return s, err
	}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		switch f := strings.Fields(value); name {
		case "VmRSS":
			kb, _ := strconv.ParseInt(f[0], 10, 64)
			s.RSS = kb << 10
		case "Threads":
			s.Threads, _ = strconv.Atoi(f[0])
		}
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	s.FDs = len(fds)
	return s, err
}
