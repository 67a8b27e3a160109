package registries

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// envMap keeps the last value of a name, as exec does.
func envMap(env []string) map[string]string {
	m := make(map[string]string, len(env))
	for _, kv := range env {
		if k, v, ok := strings.Cut(kv, "="); ok && k != "" {
			m[k] = v
		}
	}
	return m
}

// envPrefixed returns the variables whose name starts with one of the prefixes,
// in any case, as sorted "NAME=value" lines.
func (h *host) envPrefixed(prefixes ...string) []string {
	var lines []string
	for k, v := range h.env {
		for _, p := range prefixes {
			if len(k) >= len(p) && strings.EqualFold(k[:len(p)], p) {
				lines = append(lines, k+"="+v)
			}
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// lookPath finds a client on the operator's PATH. Relative entries are skipped:
// they mean the current directory, where a cloned repository may have planted
// anything.
func (h *host) lookPath(name string) string {
	for _, dir := range filepath.SplitList(h.env["PATH"]) {
		if !filepath.IsAbs(dir) {
			continue
		}
		for _, ext := range extensions() {
			path := filepath.Join(dir, name+ext)
			if st, err := os.Stat(path); err == nil && executable(st) {
				return path
			}
		}
	}
	return ""
}

func extensions() []string {
	if runtime.GOOS == "windows" {
		return []string{".exe", ".cmd"}
	}
	return []string{""}
}

func executable(st os.FileInfo) bool {
	return st.Mode().IsRegular() && (runtime.GOOS == "windows" || st.Mode()&0o111 != 0)
}

// neutral is where clients run: a directory that belongs to the system, so that
// no project's file can answer for the operator's.
func neutral(exe string) string { return filepath.VolumeName(exe) + string(filepath.Separator) }
