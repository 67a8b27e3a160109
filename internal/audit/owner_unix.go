//go:build unix

package audit

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// openFlags refuse a symbolic link as the last element of a path, and do not
// wait for the other end of a FIFO.
const openFlags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// ownedByUs reports an error unless the file belongs to this process's user.
func ownedByUs(info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) != os.Geteuid() {
		return errors.New(info.Name() + " belongs to another user")
	}
	return nil
}
