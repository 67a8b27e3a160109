//go:build unix

package secretfile

import (
	"io/fs"
	"os"
	"syscall"
)

// openFlags do not wait for the other end of a FIFO.
const openFlags = syscall.O_NONBLOCK

// foreign reports whether the file belongs to neither this process's user nor root.
func foreign(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return !ok || st.Uid != 0 && int(st.Uid) != os.Geteuid()
}
