// Package logfile is where firma's own log lines go: standard error, a file, or,
// while an agent owns the terminal, the log of the run.
package logfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// Sink takes whole log lines and writes them to one place at a time. It is safe
// for concurrent use. Write never fails: a log that can't be written must not
// stop what it reports on.
type Sink struct {
	mu       sync.Mutex
	to       io.Writer
	file     *os.File // open, when to is a file of ours
	fallback io.Writer
	path     string // of the file that Divert names, made with the first line
	wrote    bool   // something was written to path
}

// New returns a sink that writes to w.
func New(w io.Writer) *Sink { return &Sink{to: w} }

// Open returns a sink that appends to the file at path, made with mode 0600. Its
// directory must exist.
func Open(path string) (*Sink, error) {
	f, err := appendTo(path)
	if err != nil {
		return nil, err
	}
	return &Sink{to: f, file: f}, nil
}

func appendTo(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
}

// File reports whether lines go to a file that was named when the sink was made.
func (s *Sink) File() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file != nil
}

// Divert sends lines to the file at path from now on, until Restore. The file
// and its directory (mode 0700) are made with the first line, so that a run that
// has nothing to say leaves nothing behind.
func (s *Sink) Divert(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.path == "" {
		s.fallback, s.path, s.to = s.to, path, nil
	}
}

// Restore undoes Divert and returns the path of the file if anything was written
// to it, else "".
func (s *Sink) Restore() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.path == "" {
		return ""
	}
	if f, ok := s.to.(*os.File); ok && f != nil {
		f.Close()
	}
	path, wrote := s.path, s.wrote
	s.to, s.fallback, s.path, s.wrote = s.fallback, nil, "", false
	if !wrote {
		return ""
	}
	return path
}

// Write implements io.Writer.
func (s *Sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.to == nil && !s.open() {
		return len(b), nil
	}
	if _, err := s.to.Write(b); err == nil {
		s.wrote = true
	}
	return len(b), nil
}

// open makes the diverted file. What it can't write is dropped: the screen
// belongs to somebody else.
func (s *Sink) open() bool {
	err := os.MkdirAll(filepath.Dir(s.path), 0o700)
	f, ferr := appendTo(s.path)
	if errors.Join(err, ferr) != nil {
		return false
	}
	s.to = f
	return true
}
