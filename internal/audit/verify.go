package audit

import (
	"crypto"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"firma/internal/fault"
)

// VerifyOptions say what to verify and against what. Path and Key are required.
type VerifyOptions struct {
	Path string           // the log; its checkpoints are at Path + CheckpointsSuffix
	Key  crypto.PublicKey // ECDSA P-256 or Ed25519

	OldKeys       []crypto.PublicKey // keys retired by rotation that may have signed it
	CheckpointDir string             // as in Options; "" leaves the separate copy out
	Origin        string             // as in Options; "" accepts the origin the log claims
	Known         []Checkpoint       // kept by people or witnesses; the log must agree with them
}

// Verify checks a log: every event's form, place, hash and link, every
// checkpoint's signature and root, and that nothing signed is gone. What is wrong
// is in the Report; the error is for what kept Verify from looking. It reads the
// log once, line by line, and may run while the log is being written.
func Verify(o VerifyOptions) (Report, error) {
	r := Report{Path: o.Path, Problems: []Problem{}}
	ring, err := newKeyring(o.Key, o.OldKeys)
	if err != nil {
		return r, err
	}
	cs := &checkpoints{ring: ring, origin: o.Origin, report: &r}
	// What is signed first is read first: a log in use only grows meanwhile.
	loadPins(cs, &o)
	signed, err := openSnapshot(o.Path + CheckpointsSuffix)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r, unreadable(err, o.Path+CheckpointsSuffix)
	}
	defer signed.Close()
	log, err := openSnapshot(o.Path)
	if errors.Is(err, fs.ErrNotExist) && (signed.f != nil || len(cs.pins) > 0 || r.ProblemCount > 0) {
		return removed(r, cs), nil
	}
	if err != nil {
		return r, unreadable(err, o.Path)
	}
	defer log.Close()
	if signed.f == nil {
		r.add(ProblemCheckpointMissing, -1, "", 0, "the checkpoint file %s is missing", printable(o.Path+CheckpointsSuffix))
	}
	err = verifyFiles(&r, cs, log, signed)
	return r, err
}

// growing is a log to verify; grew reports whether it has become longer since.
type growing interface {
	io.ReadSeeker
	grew() bool
}

func verifyFiles(r *Report, cs *checkpoints, log growing, signed io.Reader) error {
	cs.lines = newLines(signed)
	v := &verifier{report: r, reader: newReader(), signed: cs, log: log}
	if err := v.run(); err != nil {
		return unreadable(err, r.Path)
	}
	r.settle()
	return nil
}

func unreadable(err error, path string) error {
	return fault.Wrap(err, "AuditLogUnreadable", "the audit log "+printable(path)+" cannot be read", "Give the path of a log you may read.")
}

// removed is the report of a log of which only checkpoints are left.
func removed(r Report, cs *checkpoints) Report {
	text := "the log is gone"
	if c := cs.newest(); c != nil {
		r.Newest, r.Origin = c, c.Origin
		text += ": " + c.String()
	}
	r.add(ProblemLogMissing, -1, "", 0, "%s", text)
	r.settle()
	return r
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
		return c, ProblemCheckpointMissing, errors.New("there is none")
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

// snapshot reads a regular file up to the size it had when it was opened. The
// zero value reads as empty.
type snapshot struct {
	f *os.File
	*io.SectionReader
}

func openSnapshot(path string) (snapshot, error) {
	none := snapshot{nil, io.NewSectionReader(strings.NewReader(""), 0, 0)}
	info, err := os.Stat(path) // before opening: a FIFO would wait
	if err != nil {
		return none, err
	}
	if !info.Mode().IsRegular() {
		return none, errors.New("not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return none, err
	}
	if info, err = f.Stat(); err != nil {
		return none, errors.Join(err, f.Close())
	}
	return snapshot{f, io.NewSectionReader(f, 0, info.Size())}, nil
}

func (s snapshot) Close() error {
	if s.f == nil {
		return nil
	}
	return s.f.Close()
}

func (s snapshot) grew() bool {
	info, err := s.f.Stat()
	return err == nil && info.Size() > s.Size()
}
