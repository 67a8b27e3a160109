package profile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"firma/internal/fault"
	"firma/internal/sandbox"
)

// hide takes firma's own files out of what the profile shows: the configuration,
// what it names, keys and logs may lie in the project. A directory is replaced by
// an empty one, a file by one that can't be opened.
func (v *View) hide(h Host) error {
	for _, f := range h.Hidden {
		if err := v.hideOne(f); err != nil {
			return err
		}
	}
	return nil
}

func (v *View) hideOne(f Hidden) error {
	path := realPath(f.Path)
	for _, m := range slices.Clone(v.Spec.Mounts) {
		if !sandbox.Within(path, m.Source) {
			continue
		}
		if err := v.hideIn(m, path, f.Written); err != nil {
			return err
		}
	}
	return nil
}

// hideIn hides the host's path where mount m shows it.
func (v *View) hideIn(m sandbox.Mount, path string, written bool) error {
	inside := m.Target + strings.TrimPrefix(path, m.Source)
	if v.emptied(inside, m) {
		return nil
	}
	st, err := os.Stat(path)
	if err == nil && st.IsDir() && v.removable(inside, m) {
		v.emptyDir(inside)
		return nil
	}
	dir := filepath.Dir(inside)
	if (written || strings.HasPrefix(filepath.Base(dir), ".")) && isDir(filepath.Dir(path)) && v.removable(dir, m) {
		v.emptyDir(dir)
		return nil
	}
	switch {
	case err == nil && !st.IsDir():
		v.Spec.Mounts = append(v.Spec.Mounts, sandbox.Mount{Source: "/dev/null", Target: inside})
	case written:
		return fault.New("WorkspaceForbidden", path+" would be written where the agent can reach it",
			"give it an existing directory of its own, below the project or outside")
	case err == nil:
		return fault.New("WorkspaceForbidden", path+" is firma's own, and the agent would start in it", "run from another directory")
	}
	return nil
}

// realPath resolves what exists of a path.
func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	if dir := filepath.Dir(path); dir != path {
		return filepath.Join(realPath(dir), filepath.Base(path))
	}
	return path
}

// removable reports whether dir can be made empty: it lies below what is shown,
// and the agent does not start in it.
func (v *View) removable(dir string, m sandbox.Mount) bool {
	return dir != m.Target && sandbox.Within(dir, m.Target) && !sandbox.Within(v.Dir, dir)
}

// emptied reports whether what m shows at path is covered by an empty directory.
func (v *View) emptied(path string, m sandbox.Mount) bool {
	return slices.ContainsFunc(v.Spec.Private, func(p sandbox.Private) bool {
		return sandbox.Within(path, p.Path) && sandbox.Within(p.Path, m.Target)
	})
}

func (v *View) emptyDir(dir string) {
	v.Spec.Private = append(v.Spec.Private, sandbox.Private{Path: dir, Mode: 0o555})
}
