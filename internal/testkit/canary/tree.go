package canary

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// Tree is a directory as it was: every path below it with its type, mode, owner,
// times, links, extended attributes and content hash. Access times are left out.
type Tree map[string]string

// Snapshot reads root without following links. Paths for which skip is true are
// left out with all below them; skip may be nil.
func Snapshot(root string, skip func(path string) bool) (Tree, error) {
	t := Tree{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if skip != nil && skip(path) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		facts, err := describe(path, d)
		if err == nil {
			t[path] = facts
		}
		return err
	})
	return t, err
}

func describe(path string, d fs.DirEntry) (string, error) {
	st, err := d.Info()
	if err != nil {
		return "", err
	}
	facts := fmt.Sprintf("%v size=%d mtime=%d %s", st.Mode(), st.Size(), st.ModTime().UnixNano(), systemFacts(path, st))
	switch {
	case st.Mode()&os.ModeSymlink != 0:
		to, err := os.Readlink(path)
		return facts + " -> " + to, err
	case st.Mode().IsRegular():
		sum, err := hashFile(path)
		return facts + " " + sum, err
	}
	return facts, nil
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)[:8]), err
}

// Diff names every path that appeared, went or changed since before, sorted.
func (t Tree) Diff(before Tree) []string {
	var out []string
	for path, facts := range t {
		old, ok := before[path]
		switch {
		case !ok:
			out = append(out, "new     "+path+" "+facts)
		case old != facts:
			out = append(out, "changed "+path+"\n  was "+old+"\n  is  "+facts)
		}
	}
	for path := range before {
		if _, ok := t[path]; !ok {
			out = append(out, "gone    "+path)
		}
	}
	sort.Strings(out)
	return slices.Compact(out)
}

// Plant writes files with their text, and the directories they need, mode 0600
// and 0755. Paths are under root.
func Plant(root string, files map[string]string) error {
	for name, text := range files {
		path := filepath.Join(root, name)
		if !strings.HasPrefix(path, filepath.Clean(root)+string(filepath.Separator)) {
			return fmt.Errorf("canary: %s is not under %s", name, root)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}
