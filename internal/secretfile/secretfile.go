// Package secretfile keeps one shared secret in a file that only its owner can
// read: what two processes of one account must both know, and nobody else.
package secretfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"firma/internal/fault"
)

const faultName = "SecretFileInvalid"

// The length of a secret in bytes. A shorter one could be guessed.
const (
	minBytes = 16
	maxBytes = 1024
)

// Load returns the secret in the file at path, without the white space around
// it. It refuses a file that another account may read or write.
func Load(path string) (string, error) {
	s, err := read(path, false)
	if err != nil {
		return "", err
	}
	return Check(path, s)
}

// Read returns somebody else's secret, such as a password, in the file at path,
// without the line feed behind it. It refuses a file that another account owns, or
// may read or write, and one that is empty or of several lines.
func Read(path string) (string, error) {
	s, err := read(path, true)
	if err != nil {
		return "", err
	}
	s = strings.TrimRight(s, "\r\n")
	if s == "" || len(s) > maxBytes || strings.ContainsAny(s, "\r\n\x00") {
		return "", fault.New(faultName, path+" does not hold one line", "write the secret there, and nothing else")
	}
	return s, nil
}

// read reads a file that is private; own: to this account or root. Root may name
// the secret of the account that it attaches to.
func read(path string, own bool) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return "", fault.Wrap(err, faultName, "the secret "+path+" can't be read", "check its path, owner and mode")
	}
	defer f.Close()
	if err := private(f, own); err != nil {
		return "", err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+3))
	if err != nil {
		return "", fault.Wrap(err, faultName, "the secret "+path+" can't be read", "check the disk")
	}
	return string(data), nil
}

// Check returns s without the white space around it if it can be a secret. where
// names its origin in the fault.
func Check(where, s string) (string, error) {
	s = strings.TrimSpace(s)
	odd := strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0
	if len(s) < minBytes || len(s) > maxBytes || odd {
		return "", fault.New(faultName, fmt.Sprintf("%s is not %d to %d printable characters", where, minBytes, maxBytes),
			"write a random one there: openssl rand -hex 32")
	}
	return s, nil
}

// private checks the opened file, not the path, so nothing can be swapped in
// between. Windows keeps its rights elsewhere and is not checked.
func private(f *os.File, own bool) error {
	info, err := f.Stat()
	switch {
	case err != nil:
		return fault.Wrap(err, faultName, "the secret "+f.Name()+" can't be inspected", "check the disk")
	case !info.Mode().IsRegular():
		return fault.New(faultName, f.Name()+" is not a regular file", "name the file itself")
	case own && foreign(info):
		return fault.New(faultName, f.Name()+" belongs to another account, which can use and change the secret",
			"write it to a file of your own, with mode 0600")
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return fault.New(faultName, fmt.Sprintf("%s has mode %#o: other accounts can use the secret", f.Name(), info.Mode().Perm()),
			"run `chmod 600 "+f.Name()+"`; if others had access, write a new one")
	}
	return nil
}

// LoadOrCreate is Load; a file that does not exist is made first, in a directory
// of mode 0700, with 128 random bits or more. Of several processes that make it at
// once, one does and the others read what it wrote.
func LoadOrCreate(path string) (string, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if err := create(path); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fault.Wrap(err, faultName, "the secret "+path+" can't be made", "make its directory writable for you")
		}
	}
	return Load(path)
}

// create links the file into place once it is whole: a reader never sees half.
func create(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".secret-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(rand.Text() + rand.Text() + "\n")
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}
