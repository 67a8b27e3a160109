package audit

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"firma/internal/fault"
)

// store holds the files of a log that is being written.
type store struct {
	name        string
	strict      bool
	dir         *os.Root    // of the log
	pins        *os.Root    // Options.CheckpointDir, or nil
	self        fs.FileInfo // of the log, to notice that it was replaced
	log         appender
	checkpoints appender
}

// openStore creates the files of a log. On error none is left behind.
func openStore(o *Options) (*store, error) {
	s := &store{name: filepath.Base(o.Path), strict: o.Strict}
	if err := s.open(o); err != nil {
		return nil, errors.Join(openError(err, o.Path), s.close())
	}
	return s, nil
}

func (s *store) open(o *Options) (err error) {
	if s.dir, err = openDir(filepath.Dir(o.Path)); err != nil {
		return err
	}
	if err := s.openPins(o.CheckpointDir); err != nil {
		return err
	}
	return s.create()
}

func openError(err error, path string) error {
	if errors.Is(err, fs.ErrExist) {
		return fault.Wrap(err, "AuditLogExists", "there is an audit log at "+path+" already, or there was one",
			"give each start its own log file. To remove an old one for good, remove its checkpoints, too")
	}
	return fault.Wrap(err, "AuditUnavailable", "the audit log "+path+" cannot be opened",
		"Its directory must belong to the user that runs firma and be writable for nobody else: chmod 700 "+
			filepath.Dir(path))
}

// openPins opens the checkpoint directory. A checkpoint of this name in it is
// what remains of a removed log; overwriting it would hide the removal.
func (s *store) openPins(dir string) (err error) {
	if dir == "" {
		return nil
	}
	if s.pins, err = openDir(dir); err != nil {
		return err
	}
	pin := s.name + CheckpointSuffix
	if _, err := s.pins.Lstat(pin); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, &fs.PathError{Op: "create", Path: filepath.Join(dir, pin), Err: fs.ErrExist})
	}
	return nil
}

func (s *store) create() error {
	// O_EXCL follows no symbolic link.
	const flags = os.O_WRONLY | os.O_APPEND | os.O_CREATE | os.O_EXCL
	log, err := s.dir.OpenFile(s.name, flags, 0o600)
	if err != nil {
		return err
	}
	s.log = appender{f: quick(log), sync: s.strict}
	checkpoints, err := s.dir.OpenFile(s.name+CheckpointsSuffix, flags, 0o600)
	if err != nil {
		return errors.Join(err, s.dir.Remove(s.name))
	}
	s.checkpoints = appender{f: checkpoints, sync: s.strict}
	if s.self, err = log.Stat(); err == nil && s.strict {
		err = syncDir(s.dir)
	}
	return err
}

// intact reports an error if the log is no longer at its path or has lost some
// of its first size bytes: what is written from now on would be lost with it.
func (s *store) intact(size int64) error {
	info, err := s.dir.Lstat(s.name)
	if err != nil {
		return err
	}
	if !os.SameFile(info, s.self) {
		return errors.New("the log was replaced while in use")
	}
	if info.Size() < size {
		return errors.New("the log was shortened while in use")
	}
	return nil
}

// addCheckpoint appends c to the checkpoint file.
func (s *store) addCheckpoint(c Checkpoint) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return s.checkpoints.append(append(text, '\n'))
}

// pin makes c the newest checkpoint in the checkpoint directory, atomically.
func (s *store) pin(c Checkpoint) error {
	if s.pins == nil {
		return nil
	}
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	tmp, err := writeTemp(s.pins, append(text, '\n'), 0o600, s.strict)
	if err != nil {
		return err
	}
	if err := s.pins.Rename(tmp, s.name+CheckpointSuffix); err != nil || !s.strict {
		return err
	}
	return syncDir(s.pins)
}

// close closes what is open.
func (s *store) close() (err error) {
	for _, f := range []file{s.log.f, s.checkpoints.f} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	for _, d := range []*os.Root{s.dir, s.pins} {
		if d != nil {
			err = errors.Join(err, d.Close())
		}
	}
	return err
}
