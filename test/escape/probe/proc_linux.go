package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Techniques that search: for another view of the file system through procfs, and
// for a canary. A canary is told backwards, so that the search does not find its
// own arguments; one that begins with "hex=" means the bytes.
var procTechniques = map[string]technique{
	"proc-view":   procView,
	"scan-proc":   scanProc,
	"scan-memory": scanMemory,
	"scan-files":  scanFiles,
	"exe-write":   exeWrite,
	"reopen":      reopen,
}

func canaryOf(backwards string) []byte {
	b := []byte(backwards)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	if raw, err := hex.DecodeString(strings.TrimPrefix(string(b), "hex=")); err == nil && bytes.HasPrefix(b, []byte("hex=")) {
		return raw
	}
	return b
}

// procView is PATH: look for PATH, which does not exist inside, through the root,
// working directory and open files of every process.
func procView(args []string) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	last := error(&no{"no process shows it"})
	for _, p := range append(pids(), "/proc/self") {
		up := strings.Repeat("../", 32)
		views := []string{p + "/root" + args[0], p + "/cwd/" + up + args[0]}
		fds, _ := os.ReadDir(p + "/fd")
		for _, fd := range fds {
			views = append(views, p+"/fd/"+fd.Name()+"/"+up+args[0])
		}
		for _, v := range views {
			fd, err := unix.Open(v, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err == nil {
				_ = unix.Close(fd)
				return "seen as " + v, nil
			}
		}
	}
	return "", last
}

// scanProc is CANARY backwards: look for it in what procfs tells of every process.
func scanProc(args []string) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	canary := canaryOf(args[0])
	for _, p := range append(pids(), "/proc/self") {
		for _, file := range []string{"environ", "cmdline", "mountinfo", "maps", "comm", "cgroup", "stack"} {
			data, err := os.ReadFile(filepath.Join(p, file))
			if err == nil && bytes.Contains(data, canary) {
				return "in " + filepath.Join(p, file), nil
			}
		}
		if where := scanLinks(p, canary); where != "" {
			return where, nil
		}
	}
	return "", &no{"in no process's environment, arguments, mounts or links"}
}

func scanLinks(p string, canary []byte) string {
	links, _ := filepath.Glob(p + "/fd/*")
	for _, l := range append(links, p+"/cwd", p+"/exe", p+"/root") {
		if to, err := os.Readlink(l); err == nil && bytes.Contains([]byte(to), canary) {
			return l + " -> " + to
		}
	}
	return ""
}

// scanMemory is CANARY backwards [PID]: read the memory of that process, or of
// every one but this.
func scanMemory(args []string) (string, error) {
	if len(args) == 0 || len(args) > 2 {
		return "", errUsage
	}
	canary := canaryOf(args[0])
	readable := 0
	all := pids()
	if len(args) == 2 {
		all = []string{"/proc/" + args[1]}
	}
	for _, p := range all {
		found, ok := scanOne(p, canary)
		if found {
			return "in the memory of " + p, nil
		}
		if ok {
			readable++
		}
	}
	return "", &no{fmt.Sprintf("in the memory of none of %d readable processes", readable)}
}

func scanOne(p string, canary []byte) (found, readable bool) {
	maps, err := os.Open(p + "/maps")
	if err != nil {
		return false, false
	}
	defer maps.Close()
	mem, err := os.Open(p + "/mem")
	if err != nil {
		return false, false
	}
	defer mem.Close()
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		var from, to int64
		var perm string
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &perm); n != 3 || !strings.HasPrefix(perm, "rw") || to-from > 64<<20 {
			continue
		}
		data, err := io.ReadAll(io.NewSectionReader(mem, from, to-from))
		if err == nil && bytes.Contains(data, canary) {
			return true, true
		}
	}
	return false, true
}

const maxScanned = 4 << 20 // bytes of a file

// scanFiles is CANARY backwards and roots: read every readable file below them.
func scanFiles(args []string) (string, error) {
	if len(args) < 2 {
		return "", errUsage
	}
	canary := canaryOf(args[0])
	where, count := "", 0
	for _, root := range args[1:] {
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || where != "" {
				return nil
			}
			if d.IsDir() && (path == "/proc" || path == "/sys" || path == "/usr") {
				return filepath.SkipDir
			}
			if strings.Contains(path, string(canary)) {
				where = path
			}
			if d.Type().IsRegular() {
				count++
				if holds(path, canary) {
					where = path
				}
			}
			return nil
		})
	}
	if where != "" {
		return "in " + where, nil
	}
	return "", &no{fmt.Sprintf("in none of %d files", count)}
}

func holds(path string, canary []byte) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	data, _ := io.ReadAll(io.LimitReader(f, maxScanned))
	return bytes.Contains(data, canary)
}

// exeWrite is PID: open that process's program for writing. "Text file busy" is
// the answer of a kernel that would let us, once the program has ended.
func exeWrite(args []string) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	path := "/proc/" + args[0] + "/exe"
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ETXTBSY) {
		// The kernel says so before it looks at the mount, so ask about that too.
		return "only busy", unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS)
	}
	if err != nil {
		return "", err
	}
	return "", unix.Close(fd)
}

// reopen is DESCRIPTOR TEXT: open the file behind an inherited descriptor again,
// for writing over it, whatever it was opened for.
func reopen(args []string) (string, error) {
	if len(args) != 2 {
		return "", errUsage
	}
	fd, err := unix.Open("/proc/self/fd/"+args[0], unix.O_WRONLY|unix.O_TRUNC|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return "", &no{fmt.Sprintf("not a file (mode %o)", st.Mode)}
	}
	_, err = unix.Write(fd, []byte(args[1]))
	return "wrote", err
}
