package audit

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
)

// openDir opens the directory that holds a log, a checkpoint or a key, and makes
// it with mode 0700 when it is missing. All files in it are then reached through
// the handle, so that nobody can swap the directory after the check: it must be
// ours, and writable for nobody else.
func openDir(path string) (*os.Root, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	dir, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	if err := checkDir(dir); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

func checkDir(dir *os.Root) error {
	info, err := dir.Stat(".")
	if err != nil {
		return err
	}
	if err := ownedByUs(info); err != nil {
		return err
	}
	if info.Mode().Perm()&0o022 != 0 {
		return errors.New("the directory " + dir.Name() + " is writable for others (" + info.Mode().String() + ")")
	}
	return nil
}

// writeTemp writes a new file in dir, to be linked or renamed, and returns its
// name. With durable it has reached the disk.
func writeTemp(dir *os.Root, text []byte, mode fs.FileMode, durable bool) (name string, err error) {
	name = ".tmp-" + rand.Text()
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return "", err
	}
	_, err = f.Write(text)
	if err == nil && durable {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = dir.Remove(name) // the write error says more
	}
	return name, err
}

// syncDir makes the names in dir durable.
func syncDir(dir *os.Root) error {
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
