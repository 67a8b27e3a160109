//go:build linux

package bwrap

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// memfd returns an anonymous in-memory file with the given content, positioned
// at its start.
func memfd(name string, data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("firma-"+name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.WriteAt(data, 0); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
