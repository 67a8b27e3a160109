// Package sandbox says what a sandbox shows and shuts off, as data. Backends turn
// a Spec into a confined process; none may enforce less than it says.
package sandbox

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Spec is the view of one sandbox. It is not changed once built.
type Spec struct {
	Mounts   []Mount   // of the host, at their own paths or others
	Private  []Private // empty, writable, gone with the run
	Files    []File    // made for this run, read-only
	Symlinks []Symlink
	Identity Identity
	Seccomp  []byte // compiled filter, see package seccomp
}

// Mount shows a file or directory of the host.
type Mount struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	Writable bool   `json:"writable"`
}

// Private is an empty in-memory directory.
type Private struct {
	Path string      `json:"path"`
	Mode os.FileMode `json:"mode"`
}

// File is a read-only file with the given content, mode 0444.
type File struct {
	Path string `json:"path"`
	Data []byte `json:"-"`
	Over bool   `json:"over"` // hides a file that one of the mounts shows
}

// Symlink is made inside: Path → Target.
type Symlink struct {
	Path   string `json:"path"`
	Target string `json:"target"`
}

// Identity is who the agent is inside.
type Identity struct {
	Mode     string `json:"mode"` // sandbox-user or host-user
	Name     string `json:"name"`
	UID      int    `json:"uid"`
	GID      int    `json:"gid"`
	Home     string `json:"home"`
	Hostname string `json:"hostname"`
}

// Op is one step that builds the root; exactly one field is set.
type Op struct {
	Mount   *Mount
	Private *Private
	File    *File
	Symlink *Symlink
}

// Target is where the step acts, inside.
func (o Op) Target() string {
	switch {
	case o.Mount != nil:
		return o.Mount.Target
	case o.Private != nil:
		return o.Private.Path
	case o.File != nil:
		return o.File.Path
	default:
		return o.Symlink.Path
	}
}

// Ops returns the steps broad to narrow, so that the order in which a profile
// lists its parts does not matter: a directory comes before what lies in it.
func (s *Spec) Ops() []Op {
	var ops []Op
	for i := range s.Mounts {
		ops = append(ops, Op{Mount: &s.Mounts[i]})
	}
	for i := range s.Private {
		ops = append(ops, Op{Private: &s.Private[i]})
	}
	for i := range s.Files {
		ops = append(ops, Op{File: &s.Files[i]})
	}
	for i := range s.Symlinks {
		ops = append(ops, Op{Symlink: &s.Symlinks[i]})
	}
	slices.SortStableFunc(ops, func(a, b Op) int { return depth(a.Target()) - depth(b.Target()) })
	return ops
}

func depth(p string) int { return strings.Count(filepath.Clean(p), "/") }

// Covered reports whether path is visible through one of the spec's mounts.
func (s *Spec) Covered(path string) bool {
	for _, m := range s.Mounts {
		if Within(path, m.Target) {
			return true
		}
	}
	return false
}

// Mounted reports whether something of the host is mounted at target itself.
func (s *Spec) Mounted(target string) bool {
	return slices.ContainsFunc(s.Mounts, func(m Mount) bool { return m.Target == target })
}

// Within reports whether path is dir or lies in it; both are absolute and clean.
func Within(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}
