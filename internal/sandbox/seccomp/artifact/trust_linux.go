package artifact

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"firma/internal/fault"
)

// The files of an artifact, and the most bytes of each that are read.
const (
	filterName   = "policy.bpf"
	metadataName = "policy.metadata.json"
	maxFilter    = 4096 * 8
	maxMetadata  = 64 << 10
)

// defect is why an artifact that is there can't be used.
type defect struct {
	name      string // of the fault
	path, why string
	fix       string // "" to make the artifact anew
}

func (d *defect) Error() string { return d.path + ": " + d.why }

func tampered(path, format string, args ...any) *defect {
	return &defect{name: "SeccompArtifactTampered", path: path, why: fmt.Sprintf(format, args...)}
}

// absentError is an artifact of which nothing is there.
type absentError struct{ path string }

func (e *absentError) Error() string { return e.path + " does not exist" }

// directory is an open directory that nobody but its owner can change, in a chain
// of which that is true. Opened names never follow a link, so what was checked
// can't be exchanged for something else afterwards.
type directory struct {
	fd   int
	path string
}

func (d *directory) close() { unix.Close(d.fd) }

// openLeaf opens root and the levels below it. Every one must be a directory, not
// a link, of this very user, writable for nobody else.
func openLeaf(root string, levels []string) (*directory, error) {
	at, err := openParent(filepath.Dir(root))
	if err != nil {
		return nil, err
	}
	for _, name := range append([]string{filepath.Base(root)}, levels...) {
		next, err := at.sub(name)
		at.close()
		if err != nil {
			return nil, err
		}
		at = next
	}
	return at, nil
}

// sub opens a directory of an artifact. An *absentError means that it is not there.
func (d *directory) sub(name string) (*directory, error) {
	path := filepath.Join(d.path, name)
	fd, err := unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	switch {
	case err == unix.ENOENT:
		return nil, &absentError{path}
	case err != nil:
		return nil, d.notOpened(name, "directory", err)
	}
	if err := ours(fd, path); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &directory{fd, path}, nil
}

// read returns a file of an artifact whole, from one opening of it.
func (d *directory) read(name string, limit int64) ([]byte, error) {
	path := filepath.Join(d.path, name)
	fd, err := unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	switch {
	case err == unix.ENOENT:
		return nil, &defect{name: "SeccompArtifactMissing", path: path, why: "the file does not exist, and the rest of the artifact does"}
	case err != nil:
		return nil, d.notOpened(name, "file", err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	if err := ours(fd, path); err != nil {
		return nil, err
	}
	return readRegular(f, limit)
}

func readRegular(f *os.File, limit int64) ([]byte, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch {
	case !st.Mode().IsRegular():
		return nil, tampered(f.Name(), "it is not a regular file")
	case st.Size() > limit:
		return nil, tampered(f.Name(), "its %d bytes exceed %d", st.Size(), limit)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = tampered(f.Name(), "it grew past %d bytes", limit)
	}
	return b, err
}

// notOpened says why a name could not be opened.
func (d *directory) notOpened(name, kind string, err error) error {
	path := filepath.Join(d.path, name)
	var st unix.Stat_t
	if unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
		switch {
		case st.Mode&unix.S_IFMT == unix.S_IFLNK:
			return link(path)
		case kind == "directory" && st.Mode&unix.S_IFMT != unix.S_IFDIR:
			return tampered(path, "it is not a directory")
		}
		if err := private(&st, path); err != nil {
			return err
		}
	}
	return tampered(path, "it can't be opened: %v", err)
}

func link(path string) error {
	d := tampered(path, "it is a symbolic link")
	d.fix = "find out who made it, and remove it: `rm " + quote(path) + "`"
	return d
}

// ours refuses an open file or directory that anybody but this very user may
// change. Root is another user too: what root compiled is not what we compiled.
func ours(fd int, path string) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return tampered(path, "it can't be inspected: %v", err)
	}
	return private(&st, path)
}

func private(st *unix.Stat_t, path string) error {
	if int(st.Uid) != os.Geteuid() {
		d := tampered(path, "owner: it belongs to uid %d, and firma runs as uid %d", st.Uid, os.Geteuid())
		d.fix = "find out how it came there; then remove it (`rm -r " + quote(path) + "`), or let firma use another directory"
		return d
	}
	if st.Mode&0o022 != 0 {
		d := tampered(path, "mode: %04o lets others write", st.Mode&0o7777)
		d.fix = "`chmod go-w " + quote(path) + "`, and find out who could write there"
		return d
	}
	return nil
}

// openParent opens the directory that holds an artifact directory. It and all
// above it may be links and may be root's, but no other user may change them.
func openParent(path string) (*directory, error) {
	w, err := walk(path)
	if err != nil {
		return nil, err
	}
	if w.st.Mode&unix.S_IFMT != unix.S_IFDIR {
		w.close()
		return nil, tampered(path, "it is not a directory")
	}
	return &w.directory, nil
}

// readSource reads a policy source, which must be this user's or root's, and
// writable for nobody else, like every directory on the way to it.
func readSource(path string) ([]byte, error) {
	w, err := walk(path)
	var absent *absentError
	if errors.As(err, &absent) {
		return nil, fault.New(policyInvalid, "the policy source "+path+" does not exist", "name a policy file, or none to use the shipped policy")
	}
	if err != nil {
		return nil, fault.Wrap(err, policyInvalid, "the policy source can't be trusted", "name a file that only you or root can change: `ls -ld` each part of its path")
	}
	defer w.close()
	f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", w.fd), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fault.Wrap(err, policyInvalid, "the policy source "+path+" can't be read", "check its permissions")
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, fault.New(policyInvalid, path+" is not a regular file", "name a policy file")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSource+1))
	if err != nil {
		return nil, fault.Wrap(err, policyInvalid, "the policy source "+path+" can't be read", "check the disk")
	}
	return data, nil
}

// step is where a walk has come to.
type step struct {
	directory
	st unix.Stat_t
}

// maxLinks is how many links a path may lead through (path_resolution(7)).
const maxLinks = 40

// walk resolves path from the root, one name at a time, and refuses it when a part
// could be changed by another user than root and this one. The caller closes.
func walk(path string) (*step, error) {
	at, err := rootStep()
	if err != nil {
		return nil, err
	}
	links := 0
	for rest := split(path); len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		next, err := at.next(name)
		if err != nil {
			at.close()
			return nil, err
		}
		if next.st.Mode&unix.S_IFMT != unix.S_IFLNK {
			at.close()
			at = next
			continue
		}
		target, err := next.target()
		next.close()
		if links++; err == nil && links > maxLinks {
			err = tampered(next.path, "too many symbolic links")
		}
		if err == nil && strings.HasPrefix(target, "/") {
			at.close()
			at, err = rootStep()
		}
		if err != nil {
			at.close()
			return nil, err
		}
		rest = append(split(target), rest...)
	}
	return at, nil
}

func split(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

func rootStep() (*step, error) {
	none := &step{directory: directory{fd: unix.AT_FDCWD, path: "/"}}
	return none.next("/")
}

// next opens one name without following it, and checks it.
func (s *step) next(name string) (*step, error) {
	n := &step{directory: directory{path: filepath.Join(s.path, name)}}
	var err error
	n.fd, err = unix.Openat(s.fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	switch {
	case err == unix.ENOENT:
		return nil, &absentError{n.path}
	case err != nil:
		return nil, tampered(n.path, "it can't be opened: %v", err)
	}
	if err := unix.Fstat(n.fd, &n.st); err != nil {
		n.close()
		return nil, tampered(n.path, "it can't be inspected: %v", err)
	}
	if why := shared(&n.st); why != "" {
		n.close()
		d := tampered(n.path, "%s, and what firma reads lies below it", why)
		d.fix = "make it yours or root's alone (`chmod go-w " + quote(n.path) + "`), or let firma use another directory"
		return nil, d
	}
	return n, nil
}

func (s *step) target() (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(s.fd, "", buf)
	if err != nil {
		return "", tampered(s.path, "it can't be read: %v", err)
	}
	return string(buf[:n]), nil
}

// shared says how another user than root and this one may change what st
// describes, or "". In a directory with the sticky bit only the owner of a name
// can take it away, and each name's owner is checked. A group of the same number
// as its owner is taken for the owner's private one.
func shared(st *unix.Stat_t) string {
	mode := st.Mode & 0o7777
	kind := st.Mode & unix.S_IFMT
	open := kind != unix.S_IFLNK && (kind != unix.S_IFDIR || mode&unix.S_ISVTX == 0)
	switch {
	case st.Uid != 0 && int(st.Uid) != os.Geteuid() && !unmappedRoot(st.Uid):
		return fmt.Sprintf("it belongs to uid %d", st.Uid)
	case open && mode&0o002 != 0:
		return fmt.Sprintf("mode %04o lets everybody write", mode)
	case open && mode&0o020 != 0 && st.Gid != st.Uid && st.Gid != 0:
		return fmt.Sprintf("mode %04o lets its group write", mode)
	}
	return ""
}

// overflowUID stands for every user that a user namespace does not map
// (user_namespaces(7)).
const overflowUID = 65534

// unmappedRoot reports whether uid may be the host's root, seen from a user
// namespace that does not map it.
func unmappedRoot(uid uint32) bool {
	if uid != overflowUID {
		return false
	}
	b, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(b)), " ") != "0 0 4294967295"
}
