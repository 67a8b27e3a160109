package witness

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"firma/internal/fault"
)

// file is a text of JSON objects, one checkpoint a line; the last line of an
// origin counts. A torn last line (no line feed: the machine stopped while it
// was written, so nobody was told it is recorded) is dropped.
type file struct {
	f     *os.File
	path  string
	size  int64 // up to here the file holds whole lines
	limit int64 // beyond this size it is rewritten
}

// minLimit is the size, in bytes, a file may grow to in any case.
const minLimit = 8 << 20

func openFile(path string) (*file, map[string]Checkpoint, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, broken(path, err)
	}
	held, size, err := read(f)
	if err == nil {
		_, err = f.Seek(size, io.SeekStart)
	}
	if err == nil {
		err = f.Truncate(size)
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, broken(path, err)
	}
	return &file{f, path, size, minLimit}, held, nil
}

func broken(path string, err error) error {
	return fault.Wrap(err, "WitnessFileInvalid", "the witness file "+path+" cannot be used",
		"restore it from a backup; removing it makes this Authority forget every audit log it has seen")
}

// read returns the newest checkpoint per origin and how many bytes of whole
// lines there are.
func read(r io.Reader) (map[string]Checkpoint, int64, error) {
	held := map[string]Checkpoint{}
	in := bufio.NewReader(r)
	var size int64
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return held, size, nil
		}
		if err != nil {
			return nil, 0, err
		}
		c, err := decode(line)
		if err != nil {
			return nil, 0, err
		}
		held[c.Origin] = c
		size += int64(len(line))
	}
}

func decode(line []byte) (Checkpoint, error) {
	var c Checkpoint
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return Checkpoint{}, err
	}
	return c, c.check()
}

// append adds one line durably. After a failure the torn part is cut off again,
// and if that fails, too, the file takes nothing more.
func (f *file) append(c Checkpoint) error {
	if f.f == nil {
		return fs.ErrClosed
	}
	line, err := json.Marshal(c)
	if err != nil {
		return err
	}
	n, err := f.f.Write(append(line, '\n'))
	if err == nil {
		err = f.f.Sync()
	}
	if err != nil {
		return errors.Join(err, f.undo())
	}
	f.size += int64(n)
	return nil
}

func (f *file) undo() error {
	_, err := f.f.Seek(f.size, io.SeekStart)
	if err == nil {
		err = f.f.Truncate(f.size)
	}
	if err != nil {
		err = errors.Join(err, f.close())
	}
	return err
}

func (f *file) close() error {
	if f.f == nil {
		return nil
	}
	err := f.f.Close()
	f.f = nil
	return err
}

// rewrite keeps one line per origin. A failure leaves the old file in use, which
// is only larger.
func (f *file) rewrite(held map[string]Checkpoint) {
	f.limit *= 2
	tmp, err := os.CreateTemp(filepath.Dir(f.path), filepath.Base(f.path)+".*") // mode 0600
	if err != nil {
		return
	}
	fresh := &file{f: tmp, path: f.path}
	out := bufio.NewWriter(tmp)
	for _, c := range held {
		line, merr := json.Marshal(c)
		n, werr := out.Write(append(line, '\n'))
		err, fresh.size = errors.Join(err, merr, werr), fresh.size+int64(n)
	}
	if err = errors.Join(err, out.Flush(), tmp.Sync()); err == nil {
		err = os.Rename(tmp.Name(), f.path)
	}
	if err != nil {
		_ = tmp.Close()
		_ = os.Remove(tmp.Name())
		return
	}
	_ = f.close()
	fresh.limit = max(minLimit, 4*fresh.size)
	*f = *fresh
}
