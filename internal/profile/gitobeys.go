package profile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"firma/internal/sandbox"
)

// maxIncludes bounds the files that are read for the sake of one project.
const maxIncludes = 64

// gitObeys are the paths in the project at root, relative to it, that the
// repository's own configuration makes git run or read: core.hooksPath and
// include.path (git-config(1)), also of files that are included. The files are read,
// not asked for with git, which would run in a directory that others wrote.
func gitObeys(root, home string) []string {
	dir := gitDir(root)
	o := obeyed{root: root, home: home, files: []string{filepath.Join(dir, "config"), filepath.Join(dir, "config.worktree")}}
	for i := 0; i < len(o.files) && i < maxIncludes; i++ {
		o.read(o.files[i])
	}
	slices.Sort(o.found)
	return slices.Compact(o.found)
}

// obeyed collects what git obeys in one project.
type obeyed struct {
	root, home string
	files      []string // configuration files, read or to be read
	found      []string // below root
}

func (o *obeyed) read(file string) {
	gitSettings(readSmall(file), func(section, name, value string) {
		switch {
		case section == "core" && name == "hookspath":
			o.add(o.root, value)
		case name == "path" && (section == "include" || strings.HasPrefix(section, "includeif.")):
			o.files = append(o.files, o.add(filepath.Dir(file), value)...)
		}
	})
}

// add takes a path, relative to base, and returns where it may be: git before 2.45
// reads every blank that is not quoted as a space.
func (o *obeyed) add(base, value string) (places []string) {
	value, _, _ = strings.Cut(value, "\x00") // where git's string ends
	for _, v := range slices.Compact([]string{value, strings.NewReplacer("\t", " ", "\r", " ").Replace(value)}) {
		if rest, ok := strings.CutPrefix(v, "~/"); ok {
			v = filepath.Join(o.home, rest)
		}
		p := inside(base, v)
		places = append(places, p)
		o.keep(p)
		if real, err := filepath.EvalSymlinks(p); err == nil && real != p {
			o.keep(real) // it may lead here from elsewhere
		}
	}
	return places
}

func (o *obeyed) keep(p string) {
	if p != o.root && sandbox.Within(p, o.root) {
		o.found = append(o.found, strings.TrimPrefix(p, o.root+"/"))
	}
}

// gitDir is where root's repository keeps its configuration: .git, or what a
// worktree's .git file leads to (gitrepository-layout(5)).
func gitDir(root string) string {
	dir := filepath.Join(root, ".git")
	if st, err := os.Lstat(dir); err != nil || !st.Mode().IsRegular() {
		return dir
	}
	dir = inside(root, strings.TrimPrefix(firstLine(dir), "gitdir: "))
	if common := firstLine(filepath.Join(dir, "commondir")); common != "" {
		return inside(dir, common)
	}
	return dir
}

func inside(base, p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(base, p)
}

func firstLine(path string) string {
	line, _, _ := strings.Cut(readSmall(path), "\n")
	return strings.TrimSpace(line)
}

// readSmall returns what is in a regular file of at most 256 KiB, "" for all else:
// opening a pipe that somebody left there would wait for ever.
func readSmall(path string) string {
	if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() || st.Size() > 256<<10 {
		return ""
	}
	data, _ := os.ReadFile(path)
	return string(data)
}
