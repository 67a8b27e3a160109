package audit

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// The newest checkpoints of the logs in a directory are kept in keptDir below it;
// those of logs that lie elsewhere below that, where VerifyDir does not look for
// logs of the directory that are gone.
const (
	keptDir   = "checkpoints"
	elsewhere = "elsewhere"
)

// KeepIn is the CheckpointDir for a new log, beside the logs of dir.
func KeepIn(dir, log string) string {
	if sameDir(dir, filepath.Dir(log)) {
		return filepath.Join(dir, keptDir)
	}
	return filepath.Join(dir, keptDir, elsewhere)
}

// KeptIn is the CheckpointDir of a log that was written with KeepIn, wherever it
// has been moved since.
func KeptIn(dir, log string) string {
	away := filepath.Join(dir, keptDir, elsewhere)
	if _, err := os.Lstat(filepath.Join(away, filepath.Base(log)+CheckpointSuffix)); err == nil {
		return away
	}
	return filepath.Join(dir, keptDir)
}

func sameDir(a, b string) bool {
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	x, errA := os.Stat(a)
	y, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(x, y)
}

// loadPins collects the checkpoints that are kept apart from the log.
func loadPins(cs *checkpoints, o *VerifyOptions) {
	for _, c := range o.Known {
		if kind, err := cs.trust(&c); err != nil {
			cs.report.add(kind, -1, "", 0, "checkpoint %d, given to compare: %v", c.Number, err)
			continue
		}
		cs.pins = append(cs.pins, c)
	}
	if o.CheckpointDir == "" {
		return
	}
	path := filepath.Join(o.CheckpointDir, filepath.Base(o.Path)+CheckpointSuffix)
	c, kind, err := loadPin(path, cs)
	if err != nil {
		cs.report.add(kind, -1, "", 0, "the checkpoint kept at %s: %v", printable(path), err)
		return
	}
	cs.pins = append(cs.pins, c)
}

func loadPin(path string, cs *checkpoints) (c Checkpoint, kind string, err error) {
	f, err := openSnapshot(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, ProblemCheckpointMissing, errors.New("there is none; if the log was written with another state directory, name that one (--state-dir)")
	}
	if err != nil {
		return c, ProblemCheckpointMissing, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return c, ProblemCheckpointMissing, err
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return c, ProblemCheckpointInvalid, errors.New("it is not a checkpoint: it was edited or cut")
	}
	if canonical, _ := json.Marshal(c); string(canonical)+"\n" != string(text) {
		return c, ProblemCheckpointInvalid, errors.New("it is not as firma wrote it")
	}
	kind, err = cs.trust(&c)
	return c, kind, err
}
