package main

import (
	"encoding/pem"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// Posture is every right this process holds and everything it was given.
type Posture struct {
	UID, GID, EUID, EGID int
	Groups               []int
	PID, PPID, SID       int
	Capabilities         map[string]string // Inh Prm Eff Bnd Amb, as hexadecimal masks
	NoNewPrivs           string
	Seccomp              string // mode of seccomp(2): "2" is filter
	SeccompFilters       string
	Dumpable             int
	Umask                string
	SigIgn, SigBlk       string
	Namespaces           map[string]string
	Mounts               []Mount
	Env                  map[string]string
	Descriptors          []Descriptor
	Limits               map[string]string
	Interfaces           map[string][]string
	Processes            map[string]string // what procfs shows: pid to arguments
	Directory            string
	Hostname             string
	Root                 []string          // names in "/"
	Devices              []string          // names in /dev
	Run                  map[string]string // regular files in /run, and what PEM they hold; no more than 100
}

// Mount is a line of mountinfo.
type Mount struct{ Target, Type, Source, Options, Super string }

// Descriptor is one that was open at start.
type Descriptor struct {
	Number int
	Link   string
	Flags  int
}

// openDescriptors lists what was open before this program opened anything: it
// asks the kernel about each number, since listing a directory opens one.
func openDescriptors() []Descriptor {
	var found []Descriptor
	buf := make([]byte, 4096)
	for fd := range 4096 {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if err != nil {
			continue
		}
		n, _ := unix.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd), buf)
		found = append(found, Descriptor{fd, string(buf[:max(n, 0)]), flags})
	}
	return found
}

func foundDescriptors(all []Descriptor) (string, error) {
	for _, d := range all {
		if d.Number > 2 {
			return fmt.Sprintf("%d is %s", d.Number, d.Link), nil
		}
	}
	return "", &no{"only 0, 1 and 2"}
}

func posture(inherited []Descriptor) Posture {
	status := statusFields()
	p := Posture{UID: os.Getuid(), GID: os.Getgid(), EUID: os.Geteuid(), EGID: os.Getegid(),
		PID: os.Getpid(), PPID: os.Getppid(), Capabilities: map[string]string{},
		NoNewPrivs: status["NoNewPrivs"], Seccomp: status["Seccomp"], SeccompFilters: status["Seccomp_filters"],
		Umask: status["Umask"], SigIgn: status["SigIgn"], SigBlk: status["SigBlk"], Descriptors: inherited}
	p.Groups, _ = os.Getgroups()
	p.SID, _ = unix.Getsid(0)
	for _, c := range []string{"Inh", "Prm", "Eff", "Bnd", "Amb"} {
		p.Capabilities[c] = status["Cap"+c]
	}
	p.Dumpable, _ = unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	p.Namespaces, p.Env, p.Limits = namespaces(), environment(), limits()
	p.Mounts, p.Interfaces, p.Processes = mounts(), interfaces(), processes()
	p.Directory, _ = os.Getwd()
	p.Hostname, _ = os.Hostname()
	p.Root, p.Devices, p.Run = names("/"), names("/dev"), filesOf("/run")
	return p
}

func namespaces() map[string]string {
	found := map[string]string{}
	for _, kind := range []string{"mnt", "pid", "net", "ipc", "uts", "cgroup", "user"} {
		found[kind], _ = os.Readlink("/proc/self/ns/" + kind)
	}
	return found
}

func environment() map[string]string {
	env := map[string]string{}
	for _, kv := range os.Environ() {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	return env
}

func limits() map[string]string {
	found := map[string]string{}
	for name, which := range map[string]int{"core": unix.RLIMIT_CORE, "nofile": unix.RLIMIT_NOFILE, "nproc": unix.RLIMIT_NPROC, "memlock": unix.RLIMIT_MEMLOCK} {
		var l unix.Rlimit
		if unix.Getrlimit(which, &l) == nil {
			found[name] = fmt.Sprintf("%d:%d", int64(l.Cur), int64(l.Max))
		}
	}
	return found
}

func mounts() []Mount {
	data, _ := os.ReadFile("/proc/self/mountinfo")
	var found []Mount
	for line := range strings.Lines(string(data)) {
		left, right, _ := strings.Cut(strings.TrimSpace(line), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if len(l) >= 6 && len(r) >= 3 {
			found = append(found, Mount{l[4], r[0], r[1], l[5], r[2]})
		}
	}
	return found
}

func interfaces() map[string][]string {
	found := map[string][]string{}
	all, _ := net.Interfaces()
	for _, i := range all {
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			found[i.Name] = append(found[i.Name], a.String())
		}
		sort.Strings(found[i.Name])
		if addrs == nil {
			found[i.Name] = nil
		}
	}
	return found
}

func processes() map[string]string {
	found := map[string]string{}
	for _, p := range pids() {
		args, _ := os.ReadFile(p + "/cmdline")
		found[strings.TrimPrefix(p, "/proc/")] = strings.ReplaceAll(strings.TrimRight(string(args), "\x00"), "\x00", " ")
	}
	return found
}

func filesOf(dir string) map[string]string {
	found := map[string]string{}
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if len(found) == 100 {
			return filepath.SkipAll
		}
		if err == nil && !e.IsDir() {
			name, _ := filepath.Rel(dir, path)
			found[name] = contents(path, e)
		}
		return nil
	})
	return found
}

// contents says how many PEM blocks of each type a file holds: 1, or more. Of a
// symbolic link it says where that leads, too.
func contents(path string, e fs.DirEntry) string {
	link := ""
	if e.Type() == fs.ModeSymlink {
		target, _ := os.Readlink(path)
		link = "at " + target + ": "
	} else if !e.Type().IsRegular() {
		return e.Type().String()
	}
	data, _ := os.ReadFile(path)
	count := map[string]int{}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		count[block.Type]++
	}
	var kinds []string
	for kind, n := range count {
		if n == 1 {
			kinds = append(kinds, "1 "+kind)
		} else {
			kinds = append(kinds, "more "+kind)
		}
	}
	sort.Strings(kinds)
	return link + strings.Join(kinds, ", ")
}

func names(dir string) []string {
	entries, _ := os.ReadDir(dir)
	var found []string
	for _, e := range entries {
		found = append(found, e.Name())
	}
	return found
}
