package audit

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestQuick: what is written is there, whole and in order, and a failure is told as
// package os tells it.
func TestQuick(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	q := quicker(t, f)
	var want []byte
	for i := range 300 {
		b := bytes.Repeat([]byte{byte(i)}, i*i)
		want = append(want, b...)
		if n, err := q.Write(b); n != len(b) || err != nil {
			t.Fatal(n, err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Fatal(len(got), err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := q.Write([]byte("x")); n != 0 || !errors.Is(err, os.ErrClosed) {
		t.Error("closed:", n, err)
	}
}

// TestQuickOnlyWhereLocal: a file system that is not known to be local is written to as
// package os does.
func TestQuickOnlyWhereLocal(t *testing.T) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if q, ok := quick(f).(*os.File); !ok || q != f {
		t.Errorf("%T", quick(f))
	}
}

func quicker(t *testing.T, f *os.File) file {
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return quickly(f, raw)
}

func TestQuickWithoutRoom(t *testing.T) {
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n, err := quicker(t, f).Write([]byte("x")); n != 0 || !errors.Is(err, syscall.ENOSPC) {
		t.Error(n, err)
	}
}

// TestQuickKeepsWhole: a block that finds room for a part of it leaves nothing behind.
func TestQuickKeepsWhole(t *testing.T) {
	fd, err := unix.MemfdCreate("log", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "log")
	defer f.Close()
	page := os.Getpagesize()
	if err := f.Truncate(int64(2 * page)); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_GROW); err != nil {
		t.Fatal(err)
	}
	a := appender{f: quicker(t, f)}
	first := bytes.Repeat([]byte("a"), page/2)
	if err := a.append(first); err != nil {
		t.Fatal(err)
	}
	if err := a.append(make([]byte, 3*page)); !errors.Is(err, syscall.EPERM) || a.torn != nil {
		t.Error(err, a.torn)
	}
	got, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
	if err != nil || !bytes.Equal(got, first) {
		t.Error("there are", len(got), "bytes", err)
	}
}

// TestQuickInPart: what is written before a failure counts.
func TestQuickInPart(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	q := quicker(t, w)
	go func() {
		var b [100]byte
		r.Read(b[:])
		r.Close()
	}()
	n, err := q.Write(make([]byte, 1<<20))
	if n == 0 || n == 1<<20 || !errors.Is(err, syscall.EPIPE) {
		t.Error(n, err)
	}
}
