package gate

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"firma/internal/fault"
	"firma/internal/sandbox"
)

// Program is the agent's executable, as the two sides know it.
type Program struct {
	Inside string      // what is executed in the sandbox; relative only if the command is
	Host   string      // the same file's canonical path on the host
	Info   os.FileInfo // of Host
}

// Find follows a command to its file, in the sandbox that spec describes: as
// execvp(3) would inside, by the PATH of the sandbox, with dir as its working
// directory. Errors are the faults CommandNotFound, CommandNotExecutable and, for
// a file that the host does not have, Governance.
func Find(spec *sandbox.Spec, command, dir, path string) (Program, error) {
	v := newView(spec)
	if strings.Contains(command, "/") {
		at := command
		if !filepath.IsAbs(at) {
			at = dir + "/" + at
		}
		return v.program(command, at)
	}
	found := notFound(command)
	if command == "" {
		return Program{}, found
	}
	for _, d := range filepath.SplitList(path) {
		at := filepath.Join(d, command)
		if !filepath.IsAbs(at) {
			at = filepath.Join(dir, at)
		}
		p, err := v.program(at, at)
		if err == nil || fault.NameOf(err) == Name {
			return p, err
		}
		if fault.NameOf(err) == "CommandNotExecutable" {
			found = err
		}
	}
	return Program{}, found
}

func (v *view) program(named, at string) (Program, error) {
	host, err := v.resolve(at)
	switch {
	case errors.Is(err, errNotOfHost):
		return Program{}, refuse(printable(named)+" exists only inside the sandbox, so the command gate can't be asked about it", "start the agent from a file of the host")
	case err != nil:
		return Program{}, notFound(named)
	}
	info, err := os.Lstat(host)
	switch {
	case err != nil:
		return Program{}, notFound(named)
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return Program{}, fault.New("CommandNotExecutable", printable(named)+" is not executable inside the sandbox", "make it executable, or name the program that runs it")
	}
	return Program{Inside: named, Host: host, Info: info}, nil
}

func notFound(name string) error {
	return fault.New("CommandNotFound", printable(name)+": not found inside the sandbox", "install it where the profile shows it, or choose another with --profile; `firma run --print-effective-config` lists what is shown")
}

// view answers what a path inside a sandbox is on the host.
type view struct {
	ops   []sandbox.Op // broad to narrow: the last that covers a path decides
	links int          // symbolic links that may still be followed
}

var errNotOfHost = errors.New("not a file of the host")

// maxLinks is the kernel's (path_resolution(7)).
const maxLinks = 40

func newView(spec *sandbox.Spec) *view { return &view{ops: spec.Ops()} }

// resolve follows path, absolute inside, through all symbolic links of the sandbox
// and of the host's files in it.
func (v *view) resolve(path string) (host string, err error) {
	v.links = maxLinks
	inside, rest := "/", split(path)
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		if part == ".." {
			inside = filepath.Dir(inside)
			continue
		}
		next := filepath.Join(inside, part)
		link, err := v.link(next)
		if err != nil {
			return "", err
		}
		if link == "" {
			inside = next
			continue
		}
		if v.links--; v.links < 0 {
			return "", fs.ErrNotExist
		}
		if filepath.IsAbs(link) {
			inside = "/"
		}
		rest = append(split(link), rest...)
	}
	host, virtual, err := v.at(inside)
	if virtual {
		return "", fs.ErrNotExist // a directory that firma made
	}
	return host, err
}

func split(path string) []string {
	var parts []string
	for _, p := range strings.Split(path, "/") {
		if p != "" && p != "." {
			parts = append(parts, p)
		}
	}
	return parts
}

// link is what the symbolic link at path points to, "" for anything else that
// exists there.
func (v *view) link(path string) (string, error) {
	for _, op := range v.ops {
		if op.Symlink != nil && op.Symlink.Path == path {
			return op.Symlink.Target, nil
		}
	}
	host, virtual, err := v.at(path)
	if virtual || err != nil {
		return "", err
	}
	info, err := os.Lstat(host)
	if err != nil || info.Mode()&os.ModeSymlink == 0 {
		return "", err
	}
	return os.Readlink(host)
}

// at finds the host's path of a path inside whose parents are no links. virtual
// says that it is a directory of the sandbox only.
func (v *view) at(path string) (host string, virtual bool, err error) {
	for _, own := range []string{"/proc", "/dev"} { // the sandbox has its own
		if sandbox.Within(path, own) {
			return "", false, errNotOfHost
		}
	}
	err = fs.ErrNotExist
	for _, op := range v.ops {
		switch {
		case op.Mount != nil && sandbox.Within(path, op.Mount.Target):
			host, err = onHost(op.Mount, path)
			virtual = false
		case op.Private != nil && sandbox.Within(path, op.Private.Path):
			host, virtual, err = "", path == op.Private.Path, fs.ErrNotExist
			if virtual {
				err = nil
			}
		case op.File != nil && op.File.Path == path:
			return "", false, errNotOfHost
		}
	}
	if err != nil && v.leadsTo(path) {
		return "", true, nil
	}
	return host, virtual, err
}

func onHost(m *sandbox.Mount, path string) (string, error) {
	source, err := filepath.EvalSymlinks(m.Source) // a mount follows links
	if err != nil {
		return "", err
	}
	return filepath.Join(source, strings.TrimPrefix(path, m.Target)), nil
}

// leadsTo reports whether path is a directory that had to be made for what lies
// below it.
func (v *view) leadsTo(path string) bool {
	for _, op := range v.ops {
		if below := placeOf(op); below != path && sandbox.Within(below, path) {
			return true
		}
	}
	return false
}

func placeOf(op sandbox.Op) string {
	switch {
	case op.Mount != nil:
		return op.Mount.Target
	case op.Private != nil:
		return op.Private.Path
	case op.File != nil:
		return op.File.Path
	}
	return op.Symlink.Path
}

// Shown returns the mount through which the host's path would be seen in the
// sandbox, and whether there is one. A path that does not exist yet is judged by
// the nearest directory above it that does.
func Shown(spec *sandbox.Spec, path string) (sandbox.Mount, bool) {
	real := canonical(path)
	for _, m := range spec.Mounts {
		source := canonical(m.Source)
		if sandbox.Within(real, source) || sandbox.Within(path, m.Source) {
			return m, true
		}
	}
	return sandbox.Mount{}, false
}

func canonical(path string) string {
	for dir, rest := filepath.Clean(path), ""; ; dir, rest = filepath.Dir(dir), filepath.Join(filepath.Base(dir), rest) {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(real, rest)
		}
		if dir == "/" {
			return filepath.Clean(path)
		}
	}
}

// Canonical resolves the list of allowed executables. What does not exist is left
// out: nothing can be it.
func Canonical(paths []string) []string {
	var out []string
	for _, p := range paths {
		if real, err := filepath.EvalSymlinks(p); err == nil {
			out = append(out, real)
		}
	}
	return out
}
