package revocation

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"firma/internal/fault"
)

const faultName = "RevocationFileInvalid"

// lockTries and lockPause bound the wait for another firma process that is
// changing the file: two seconds.
const (
	lockTries = 40
	lockPause = 50 * time.Millisecond
)

// Read returns the entries of the file at path. A file that does not exist is an
// empty list. Like Parse it may return entries and an error together.
func Read(path string) ([]Entry, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Wrap(err, faultName, "the revocation file "+path+" cannot be read", "check its mode and owner")
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err == nil && len(text) > maxFileBytes {
		err = fmt.Errorf("larger than %d bytes", maxFileBytes)
	}
	if err != nil {
		return nil, fault.Wrap(err, faultName, "the revocation file "+path+" cannot be read",
			"drop what has expired with `firma authority revocations compact`")
	}
	entries, err := Parse(path, text)
	if err != nil {
		return entries, fault.Wrap(err, faultName, "the revocation file "+path+" has a line that is not a revocation",
			"correct the line: TOKEN_ID [at=TIME] [expires=TIME] [REASON]")
	}
	return entries, nil
}

// Add appends e to the file at path (made with mode 0600 if need be) and returns
// once the line is on disk. Spaces and control characters in the reason become
// single spaces.
func Add(path string, e Entry) error {
	e.Reason = strings.Join(strings.Fields(clean(e.Reason)), " ")
	if len(e.Reason) > maxLineBytes/2 {
		e.Reason = strings.ToValidUTF8(e.Reason[:maxLineBytes/2], "")
	}
	if !ValidTokenID(e.TokenID) {
		return fault.New(faultName, fmt.Sprintf("%.40q is not a token id", e.TokenID),
			"take the token_id from the audit log or the capability file (ctok_…)")
	}
	return locked(path, func() error { return appendLine(path, e.line()) })
}

func appendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if !endsLine(f) {
		line = "\n" + line
	}
	_, err = f.WriteString(line)
	return errors.Join(err, f.Sync(), f.Close())
}

// endsLine reports whether what is appended starts on a line of its own.
func endsLine(f *os.File) bool {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil || end == 0 {
		return err == nil
	}
	var last [1]byte
	_, err = f.ReadAt(last[:], end-1)
	return err == nil && last[0] == '\n'
}

// Compact rewrites the file at path without comments, repeated ids and the
// entries that ended before now, and returns how many entries it dropped. An
// entry that does not say when it ends stays. The file is replaced in one step;
// it is left alone when any line is not understood.
func Compact(path string, now time.Time) (dropped int, err error) {
	err = locked(path, func() error {
		entries, err := Read(path)
		if err != nil {
			return err
		}
		kept := live(entries, now)
		dropped = len(entries) - len(kept)
		if dropped == 0 {
			return nil
		}
		return replace(path, kept)
	})
	return dropped, err
}

// live returns the entries to keep. Of several with one id the one that ends
// last stays, and one without an end beats all.
func live(entries []Entry, now time.Time) []Entry {
	index := make(map[string]int, len(entries))
	var kept []Entry
	for _, e := range entries {
		if !e.Expires.IsZero() && e.Expires.Before(now) {
			continue
		}
		i, seen := index[e.TokenID]
		switch {
		case !seen:
			index[e.TokenID] = len(kept)
			kept = append(kept, e)
		case !kept[i].Expires.IsZero() && (e.Expires.IsZero() || e.Expires.After(kept[i].Expires)):
			kept[i] = e
		}
	}
	return kept
}

func replace(path string, entries []Entry) error {
	var text bytes.Buffer
	for _, e := range entries {
		text.WriteString(e.line())
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text.Bytes())
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// locked runs change while no other firma process changes the file: an entry
// appended between a compaction's read and its rename would be lost otherwise.
// The lock is a file beside it, because every system can do that.
func locked(path string, change func() error) error {
	lock := path + ".lock"
	for try := 0; ; try++ {
		f, err := os.OpenFile(lock, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			_ = f.Close()
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return fault.Wrap(err, faultName, path+" cannot be changed", "check the directory's mode and owner")
		}
		if try == lockTries {
			return fault.New(faultName, "another firma process has been changing "+path+" for two seconds",
				"wait for it; if there is none, remove "+lock)
		}
		time.Sleep(lockPause)
	}
	defer os.Remove(lock)
	return wrapped(path, change())
}

func wrapped(path string, err error) error {
	if err == nil || fault.NameOf(err) != "" {
		return err
	}
	return fault.Wrap(err, faultName, path+" was not changed", "check the disk, and the file's mode and owner")
}
