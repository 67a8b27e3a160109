package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"firma/internal/testkit/census"
)

// pollEvery is how often poll looks; it decides nothing.
const pollEvery = 5 * time.Millisecond

// timeAfter returns what waits a moment and says whether the deadline has passed.
func timeAfter() (over func() bool) {
	end := time.Now().Add(deadline)
	return func() bool {
		time.Sleep(pollEvery)
		return time.Now().After(end)
	}
}

// scope is what belongs to this stage's runs: the copy of the binary that nobody
// else uses, and every command line with one of the stage's paths.
func (s *stage) scope() census.Scope {
	return census.Scope{Programs: []string{s.Firma}, Marker: s.Base}
}

// parts are the processes of a run under way, by role.
type parts struct {
	launcher, authority, sidecar int
	monitor                      int // bwrap, outside
	init                         int // bwrap, pid 1 inside
	agent                        int // the command
}

// parts finds the run's processes. The agent must have started.
func (f *performance) parts() parts {
	f.t.Helper()
	p := parts{launcher: f.cmd.Process.Pid}
	for _, pid := range childrenOf(p.launcher) {
		switch line := cmdline(pid); {
		case strings.HasPrefix(line, "firma sidecar "):
			p.sidecar = pid
		case strings.HasPrefix(line, "firma authority "):
			p.authority = pid
		case strings.Contains(line, "bwrap"):
			p.monitor = pid
		}
	}
	if p.authority == 0 || p.sidecar == 0 || p.monitor == 0 {
		f.t.Fatalf("the run has not all of its parts: %+v", p)
	}
	p.init = only(f.t, childrenOf(p.monitor))
	p.agent = childrenOf(p.init)[0]
	return p
}

func only(t testing.TB, pids []int) int {
	t.Helper()
	if len(pids) != 1 {
		t.Fatalf("%d processes, want 1", len(pids))
	}
	return pids[0]
}

// childrenOf lists the children of all threads of a process, oldest first.
func childrenOf(pid int) []int {
	var all []int
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range tasks {
		text, _ := os.ReadFile(t) // gone: no children
		for _, w := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(w); err == nil {
				all = append(all, n)
			}
		}
	}
	slices.Sort(all)
	return all
}

func cmdline(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.ReplaceAll(string(text), "\x00", " ")
}

// socketsOf are the inodes of the sockets that processes hold.
func socketsOf(pids ...int) []string {
	var inodes []string
	for _, pid := range pids {
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, l := range links {
			to, _ := os.Readlink(l)
			if inode, ok := strings.CutPrefix(to, "socket:["); ok {
				inodes = append(inodes, strings.TrimSuffix(inode, "]"))
			}
		}
	}
	return inodes
}

// openSockets returns those of the inodes that the host's tables still list.
func openSockets(t testing.TB, inodes []string) []string {
	t.Helper()
	var open []string
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6", "unix"} {
		text, err := os.ReadFile("/proc/net/" + table)
		if err != nil {
			continue // no such protocol on this kernel
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			column := 9 // of the inode
			if table == "unix" {
				column = 6
			}
			// 06 is TIME_WAIT: nobody's any more, and its inode is 0 anyway.
			if len(f) > column && f[column] != "0" && slices.Contains(inodes, f[column]) {
				open = append(open, table+" "+strings.TrimSpace(line))
			}
		}
	}
	return open
}

// listening returns those of the inodes that listen on the host's loopback.
func listening(t testing.TB, inodes []string) []string {
	t.Helper()
	return slices.DeleteFunc(openSockets(t, inodes), func(line string) bool {
		f := strings.Fields(line)
		return !strings.HasPrefix(f[0], "tcp") || f[4] != "0A"
	})
}

// wantGone waits until no process of the stage is left, and fails when one stays.
func (s *stage) wantGone(t *testing.T) {
	t.Helper()
	c := s.census(t)
	for _, p := range c.Processes {
		t.Errorf("still there: %d %s %q", p.PID, p.State, p.Args)
	}
	for _, x := range slices.Concat(c.Mounts, c.Groups) {
		t.Errorf("still there: %s", x)
	}
}

// statOf are the fields of /proc/PID/stat (proc(5)), none if the process is gone.
func statOf(pid int) []string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	open, end := strings.IndexByte(string(text), '('), strings.LastIndexByte(string(text), ')')
	if open < 0 || end < open {
		return nil
	}
	return append([]string{strings.TrimSpace(string(text[:open])), string(text[open : end+1])}, strings.Fields(string(text[end+1:]))...)
}

// census waits for the processes that are about to end, and counts what is there.
func (s *stage) census(t testing.TB) (c census.Census) {
	t.Helper()
	for end := timeAfter(); ; {
		var err error
		c, err = census.Take(s.scope())
		must(t, err)
		if len(c.Processes) == 0 || end() {
			return c
		}
	}
}
