//go:build unix

package ca

import (
	"io/fs"
	"os"
	"syscall"
)

// openFile opens path, which must not be a symbolic link, without waiting for
// what is no file.
func openFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

func ownedByUs(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

func tooOpen(info fs.FileInfo, secret bool) bool {
	mask := fs.FileMode(0o022)
	if secret {
		mask = 0o077
	}
	return info.Mode().Perm()&mask != 0
}
