package profile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"firma/internal/sandbox"
)

// gitObeys are the paths in the project at root, relative to it, that the
// repository's own configuration makes git run or read: core.hooksPath and
// include.path (git-config(1)). The file is read, not asked for with git, which
// would run in a directory that others wrote.
func gitObeys(root string) []string {
	dir := gitDir(root)
	var found []string
	for base, paths := range gitPaths(readSmall(filepath.Join(dir, "config")), root, dir) {
		for _, p := range paths {
			if !filepath.IsAbs(p) {
				p = filepath.Join(base, p)
			}
			if p = filepath.Clean(p); p != root && sandbox.Within(p, root) {
				found = append(found, strings.TrimPrefix(p, root+"/"))
			}
		}
	}
	slices.Sort(found)
	return found
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

// gitPaths returns the values of core.hooksPath, which is relative to the worktree
// at root, and of include.path, which is relative to the file in dir. Values that
// continue on the next line are read as far as they go.
func gitPaths(config, root, dir string) map[string][]string {
	found, section := map[string][]string{}, ""
	for line := range strings.Lines(config) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			name, rest, _ := strings.Cut(line[1:], "]")
			name, _, _ = strings.Cut(name, " ") // [includeIf "condition"]
			section, line = strings.ToLower(name), strings.TrimSpace(rest)
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		key, value = strings.ToLower(strings.TrimSpace(key)), strings.Trim(strings.TrimSpace(value), `"`)
		switch {
		case section == "core" && key == "hookspath":
			found[root] = append(found[root], value)
		case (section == "include" || section == "includeif") && key == "path":
			found[dir] = append(found[dir], value)
		}
	}
	return found
}
