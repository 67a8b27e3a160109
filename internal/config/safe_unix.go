//go:build unix

package config

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// openFlags keep an open from following a final link or waiting for a pipe.
const openFlags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// onlyOurs refuses what another account could have written: it must belong to
// this user or root, and be writable for nobody else. A group of the same number
// as its owner is taken for the owner's private one.
func onlyOurs(info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("its owner is unknown")
	}
	mode := info.Mode()
	switch {
	case int(st.Uid) != os.Geteuid() && st.Uid != 0:
		return errors.New(info.Name() + " belongs to another account")
	case mode.Perm()&0o002 != 0 && !(mode.IsDir() && mode&fs.ModeSticky != 0):
		return errors.New(info.Name() + " is writable for everybody")
	case mode.Perm()&0o020 != 0 && st.Gid != st.Uid && !(mode.IsDir() && mode&fs.ModeSticky != 0):
		return errors.New(info.Name() + " is writable for its group")
	}
	return nil
}

// checkPath refuses a path of which any part could be changed by another account,
// or is a link. Each part is checked before the next, from the root down, so what
// has been checked can't be swapped by others afterwards.
func checkPath(path string) error {
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		part := path[:i]
		info, err := os.Lstat(part)
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			return errors.New(part + " is a link")
		}
		if err := onlyOurs(info); err != nil {
			return errors.New(strings.Replace(err.Error(), info.Name(), part, 1))
		}
	}
	return nil
}
