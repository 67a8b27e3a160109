package census

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Take counts now. A process that ends meanwhile is left out.
func Take(s Scope) (Census, error) {
	ids, err := identities(s.Programs)
	if err != nil {
		return Census{}, err
	}
	procs, err := processes(s, ids)
	if err != nil {
		return Census{}, err
	}
	c := Census{Processes: procs, Sockets: sockets(s, procs), Groups: groups(s)}
	c.Mounts, err = mounts(s)
	return c, err
}

type identity struct{ dev, ino uint64 }

func identities(programs []string) ([]identity, error) {
	var ids []identity
	for _, p := range programs {
		var st syscall.Stat_t
		if err := syscall.Stat(p, &st); err != nil {
			return nil, fmt.Errorf("census: %s: %w", p, err)
		}
		ids = append(ids, identity{st.Dev, st.Ino})
	}
	return ids, nil
}

func processes(s Scope, ids []identity) ([]Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if p, ok := describe(pid, s, ids); ok {
			found = append(found, p)
		}
	}
	return found, nil
}

func describe(pid int, s Scope, ids []identity) (Process, bool) {
	var st syscall.Stat_t
	p, ok := read(pid)
	if !ok {
		return Process{}, false
	}
	belongs := syscall.Stat(fmt.Sprintf("/proc/%d/exe", pid), &st) == nil && slices.Contains(ids, identity{st.Dev, st.Ino})
	belongs = belongs || s.Marker != "" && strings.Contains(strings.Join(p.Args, " "), s.Marker)
	return p, belongs
}

// read tells of one process what proc(5) says of it.
func read(pid int) (Process, bool) {
	dir := "/proc/" + strconv.Itoa(pid)
	cmdline, err := os.ReadFile(dir + "/cmdline")
	if err != nil {
		return Process{}, false
	}
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return Process{}, false
	}
	// The name in parentheses may hold anything; fields count from behind it.
	_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')'):]), " ")
	f := strings.Fields(rest)
	if len(f) < 20 {
		return Process{}, false
	}
	parent, _ := strconv.Atoi(f[1])
	args := strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")
	return Process{PID: pid, Parent: parent, Start: f[19], State: f[0], Args: args}, true
}

func sockets(s Scope, procs []Process) []string {
	var found []string
	for _, p := range procs {
		dir := fmt.Sprintf("/proc/%d/fd", p.PID)
		entries, _ := os.ReadDir(dir) // gone meanwhile: holds nothing
		for _, e := range entries {
			if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && strings.HasPrefix(to, "socket:") {
				found = append(found, fmt.Sprintf("%d %s", p.PID, to))
			}
		}
	}
	table, _ := os.ReadFile("/proc/net/unix")
	for line := range strings.Lines(string(table)) {
		if s.Marker != "" && strings.Contains(line, s.Marker) {
			found = append(found, "unix "+strings.TrimSpace(line[strings.Index(line, s.Marker):]))
		}
	}
	return without(found, nil)
}

func mounts(s Scope) ([]string, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var found []string
	for line := range strings.Lines(string(table)) {
		if s.Marker != "" && strings.Contains(line, s.Marker) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return without(found, nil), nil
}

func groups(s Scope) []string {
	var found []string
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // no control groups, or gone meanwhile
		}
		name := d.Name()
		if strings.Contains(name, "firma") || s.Marker != "" && strings.Contains(name, s.Marker) {
			found = append(found, path)
		}
		return nil
	})
	return without(found, nil)
}
