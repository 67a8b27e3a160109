package audit

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// LogSuffix is how VerifyDir knows logs of which no checkpoint is left.
const LogSuffix = ".jsonl"

// VerifyDir verifies every log of a directory, by name, and reports those of
// which only checkpoints remain, beside the logs or in o.CheckpointDir. o.Path is
// the directory; its subdirectories are left out. o.Origin and o.Known must be
// empty: they speak of one log. A log removed with all its checkpoints leaves no
// trace here; a witness outside knows.
func VerifyDir(o VerifyOptions) ([]Report, error) {
	names, err := logNames(o.Path, o.CheckpointDir)
	if err != nil {
		return nil, unreadable(err, o.Path)
	}
	reports := make([]Report, 0, len(names))
	var failed error
	for _, name := range names {
		one := VerifyOptions{Path: filepath.Join(o.Path, name), Key: o.Key, OldKeys: o.OldKeys, CheckpointDir: o.CheckpointDir}
		r, err := Verify(one)
		failed = errors.Join(failed, err)
		if err == nil {
			reports = append(reports, r)
		}
	}
	return reports, failed
}

// logNames returns the base names of the logs that are, or were, in dir.
func logNames(dir, pins string) ([]string, error) {
	found := map[string]bool{}
	for _, suffix := range []string{CheckpointsSuffix, LogSuffix} {
		if err := namesIn(dir, suffix, found); err != nil && (pins == "" || !errors.Is(err, fs.ErrNotExist)) {
			return nil, err
		}
	}
	if pins != "" {
		if err := namesIn(pins, CheckpointSuffix, found); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

func namesIn(dir, suffix string, into map[string]bool) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() || len(name) <= len(suffix) || !strings.HasSuffix(name, suffix) {
			continue
		}
		if suffix != LogSuffix {
			name = strings.TrimSuffix(name, suffix)
		}
		into[name] = true
	}
	return err
}
