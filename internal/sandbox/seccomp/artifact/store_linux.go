package artifact

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"firma/internal/fault"
)

// write puts the artifact on disk: a new directory with both files, on disk before
// it takes the artifact's name, so that the artifact is there whole or not at all.
// One that is already there is kept unless replace is set.
func (p *Plan) write(replace bool) error {
	parent, err := p.makeParent()
	if err != nil {
		return p.notWritten(err)
	}
	defer parent.close()
	temp := ".new-" + random()
	defer parent.remove(temp)
	if err := p.fill(parent, temp); err != nil {
		return p.notWritten(err)
	}
	leaf := filepath.Base(p.Dir)
	err = unix.Renameat2(parent.fd, temp, parent.fd, leaf, unix.RENAME_NOREPLACE)
	if err == unix.EINVAL { // a file system without the flag: it replaces nothing but an empty directory
		err = unix.Renameat(parent.fd, temp, parent.fd, leaf)
	}
	switch {
	case err == unix.EEXIST || err == unix.ENOTEMPTY || err == unix.ENOTDIR:
		if !replace {
			return nil // another run was faster; it is verified like any other
		}
		err = parent.exchange(temp, leaf)
	}
	if err != nil {
		return p.notWritten(err)
	}
	return p.notWritten(unix.Fsync(parent.fd))
}

// exchange gives temp the name of what is there. Without RENAME_EXCHANGE there is
// a moment with nothing in its place, in which a launch makes it or refuses.
func (d *directory) exchange(temp, name string) error {
	err := unix.Renameat2(d.fd, temp, d.fd, name, unix.RENAME_EXCHANGE)
	if err != unix.EINVAL {
		return err
	}
	old := ".old-" + random()
	defer d.remove(old)
	if err := unix.Renameat(d.fd, name, d.fd, old); err != nil {
		return err
	}
	return unix.Renameat(d.fd, temp, d.fd, name)
}

// makeParent makes the directories above the artifact, 0700, and opens the last.
func (p *Plan) makeParent() (*directory, error) {
	above := filepath.Dir(p.root)
	if err := os.MkdirAll(above, 0o700); err != nil {
		return nil, err
	}
	at, err := openParent(above)
	if err != nil {
		return nil, err
	}
	levels := p.levels()
	for _, name := range append([]string{filepath.Base(p.root)}, levels[:len(levels)-1]...) {
		next, err := at.make(name)
		at.close()
		if err != nil {
			return nil, err
		}
		at = next
	}
	return at, nil
}

// make opens a directory, after making it where it is not there.
func (d *directory) make(name string) (*directory, error) {
	if err := unix.Mkdirat(d.fd, name, 0o700); err == nil {
		// An O_PATH descriptor, as of the directory above the artifact's, can't be
		// synced; that name is made once, and without it there is nothing to verify.
		_ = unix.Fsync(d.fd)
	} else if err != unix.EEXIST {
		return nil, &os.PathError{Op: "mkdir", Path: filepath.Join(d.path, name), Err: err}
	}
	return d.sub(name)
}

func (p *Plan) fill(parent *directory, name string) error {
	if err := unix.Mkdirat(parent.fd, name, 0o700); err != nil {
		return &os.PathError{Op: "mkdir", Path: filepath.Join(parent.path, name), Err: err}
	}
	dir, err := parent.sub(name)
	if err != nil {
		return err
	}
	defer dir.close()
	if err := dir.create(filterName, p.filter); err != nil {
		return err
	}
	if err := dir.create(metadataName, p.expected(time.Now()).bytes()); err != nil {
		return err
	}
	return unix.Fsync(dir.fd)
}

func (d *directory) create(name string, data []byte) error {
	path := filepath.Join(d.path, name)
	fd, err := unix.Openat(d.fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &os.PathError{Op: "create", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// remove takes away what this package made or replaced. What can't be removed is
// only left over.
func (d *directory) remove(name string) { _ = os.RemoveAll(filepath.Join(d.path, name)) }

func (p *Plan) notWritten(err error) error {
	var d *defect
	switch {
	case err == nil:
		return nil
	case errors.As(err, &d):
		return p.refuse(err)
	}
	return fault.Wrap(err, "SeccompArtifactNotWritable", "the compiled filter can't be kept in "+p.Dir,
		"make the directory writable for you, or set "+envArtifactDir+" to one that is")
}

func random() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand, Go 1.24)
	return hex.EncodeToString(b[:])
}
