package audit

import (
	"errors"
	"io"
	"os"
	"strings"
)

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
