package audit

import (
	"io"
	"os"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"firma/internal/offhand"
)

// local are the file systems (statfs(2)) on which a write is a copy in memory as long as
// the disk keeps up. On one of a network it may never return.
var local = []int64{
	unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC,
	unix.TMPFS_MAGIC, unix.OVERLAYFS_SUPER_MAGIC,
}

// quick returns f with writes that take no longer than they must, since a call waits for
// each, if its file system is local.
func quick(f *os.File) file {
	raw, err := f.SyscallConn()
	if err != nil {
		return f
	}
	var of unix.Statfs_t
	if raw.Control(func(fd uintptr) { err = unix.Fstatfs(int(fd), &of) }) != nil || err != nil || !slices.Contains(local, int64(of.Type)) {
		return f
	}
	return quickly(f, raw)
}

func quickly(f *os.File, raw syscall.RawConn) file {
	q := &quickFile{File: f, raw: raw}
	q.step = q.once // a closure of its own for every write would be garbage
	return q
}

// quickFile is for one goroutine, as its appender is.
type quickFile struct {
	*os.File
	raw   syscall.RawConn
	step  func(fd uintptr) bool
	calls offhand.Calls

	rest  []byte // to be written
	wrote int
	err   error
}

// Write implements io.Writer.
func (q *quickFile) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		q.rest, q.wrote, q.err = b[n:], 0, nil
		if q.raw.Write(q.step) != nil {
			q.err = os.ErrClosed // there is no deadline
		}
		err = q.err
		n += q.wrote
	}
	q.rest = nil
	if err != nil {
		err = &os.PathError{Op: "write", Path: q.Name(), Err: err}
	}
	return n, err
}

func (q *quickFile) once(fd uintptr) bool {
	var n uintptr
	var errno syscall.Errno
	call := q.calls.Begin()
	if call.Announce {
		n, _, errno = unix.Syscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(q.rest))), uintptr(len(q.rest)))
	} else {
		n, _, errno = unix.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(q.rest))), uintptr(len(q.rest)))
	}
	q.calls.End(call)
	switch {
	case errno == unix.EAGAIN:
		return false // of what is no plain file: it waits for room
	case errno == unix.EINTR: // Write tries again
	case errno != 0:
		q.err = errno
	case n == 0:
		q.err = io.ErrUnexpectedEOF // as package os says
	default:
		q.wrote = int(n)
	}
	return true
}
