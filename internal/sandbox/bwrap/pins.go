//go:build linux

package bwrap

import (
	"strings"

	"golang.org/x/sys/unix"

	"firma/internal/control"
	"firma/internal/fault"
	"firma/internal/sandbox"
)

// pins records what each mount is to show. The profile judged paths; bwrap looks
// them up again a moment later, and an agent of another run in the same workspace
// may have put a symbolic link there in between. So each source is opened once
// without following any link, and the stub compares what really got mounted.
func pins(spec *sandbox.Spec) ([]control.Pin, error) {
	var out []control.Pin
	for _, m := range topmost(spec) {
		how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS}
		fd, err := unix.Openat2(unix.AT_FDCWD, m.Source, &how)
		if err != nil {
			return nil, changed(m.Source, err)
		}
		var st unix.Stat_t
		err = unix.Fstat(fd, &st)
		unix.Close(fd)
		if err != nil {
			return nil, changed(m.Source, err)
		}
		out = append(out, control.Pin{Path: m.Target, Dev: uint64(st.Dev), Ino: st.Ino})
	}
	return out, nil
}

// topmost are the mounts that are seen at their target: nothing else of the spec
// lies on the same path. Device files come from a /dev of the run's own.
func topmost(spec *sandbox.Spec) []sandbox.Mount {
	top := map[string]int{}
	for i, m := range spec.Mounts {
		top[m.Target] = i
	}
	for _, p := range spec.Private {
		delete(top, p.Path)
	}
	for _, f := range spec.Files {
		delete(top, f.Path)
	}
	var out []sandbox.Mount
	for i, m := range spec.Mounts {
		if at, ok := top[m.Target]; ok && at == i && !strings.HasPrefix(m.Source, "/dev/") {
			out = append(out, m)
		}
	}
	return out
}

func changed(path string, err error) error {
	return fault.Wrap(err, "SandboxSetupFailed", path+" changed while the sandbox was set up: it is gone, or a symbolic link now",
		"see what else works in that directory, then run again")
}
