package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Techniques against files; paths are the host's. Every one leaves a trace that
// the driver sees on the host: content, name, mode, owner, time, link count or
// attribute.
var fileTechniques = map[string]technique{
	"read":          readFile,
	"list":          listDir,
	"open-write":    openWrite,
	"tree-write":    treeWrite,
	"create":        create,
	"append":        appendTo,
	"truncate":      onPath(func(p string) error { return unix.Truncate(p, 0) }),
	"unlink":        onPath(unix.Unlink),
	"mkdir":         onPath(func(p string) error { return unix.Mkdir(p, 0o755) }),
	"mkfifo":        onPath(func(p string) error { return unix.Mkfifo(p, 0o600) }),
	"mknod":         mknod,
	"tmpfile":       tmpfile,
	"rename":        onPaths(unix.Rename),
	"exchange":      onPaths(exchange),
	"symlink":       onPaths(unix.Symlink),
	"link":          onPaths(unix.Link),
	"link-read":     linkRead,
	"symlink-write": symlinkWrite,
	"hook":          hook,
	"chmod":         onPath(func(p string) error { return unix.Chmod(p, 0o777) }),
	"fchmod":        onOpen(func(fd int) error { return unix.Fchmod(fd, 0o777) }),
	"chown":         onPath(func(p string) error { return unix.Lchown(p, os.Getuid(), os.Getgid()) }),
	"utime":         onPath(func(p string) error { return os.Chtimes(p, time.Unix(1, 0), time.Unix(1, 0)) }),
	"xattr":         onPath(func(p string) error { return unix.Setxattr(p, "user.probe", []byte("x"), 0) }),
	"fxattr":        onOpen(func(fd int) error { return unix.Fsetxattr(fd, "user.probe", []byte("x"), 0) }),
	"flags":         onOpen(setFlags),
	"mmap-write":    mmapWrite,
	"fallocate":     fallocate,
}

func onPath(f func(string) error) technique {
	return func(args []string) (string, error) {
		if len(args) != 1 {
			return "", errUsage
		}
		return "", f(args[0])
	}
}

func onPaths(f func(a, b string) error) technique {
	return func(args []string) (string, error) {
		if len(args) != 2 {
			return "", errUsage
		}
		return "", f(args[0], args[1])
	}
}

// onOpen works on a descriptor that was opened for reading only.
func onOpen(f func(fd int) error) technique {
	return func(args []string) (string, error) {
		if len(args) != 1 {
			return "", errUsage
		}
		fd, err := unix.Open(args[0], unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return "open", err
		}
		defer unix.Close(fd)
		return "", f(fd)
	}
}

func readFile(args []string) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	fd, err := unix.Open(args[0], unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, make([]byte, 4096))
	return fmt.Sprintf("%d bytes", n), err
}

// listDir is DIRECTORY [NAME…]: success is an entry other than the names, which
// are those on the way to what is shown.
func listDir(args []string) (string, error) {
	if len(args) == 0 {
		return "", errUsage
	}
	entries, err := os.ReadDir(args[0])
	for _, e := range entries {
		if !slices.Contains(args[1:], e.Name()) {
			return "there is " + e.Name(), nil
		}
	}
	if err == nil {
		err = &no{"nothing is in it here"}
	}
	return "", err
}

// openWrite opens without changing anything: having the descriptor is the finding.
func openWrite(args []string) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	fd, err := unix.Open(args[0], unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return "", err
	}
	return "", unix.Close(fd)
}

// treeWrite opens every file below a directory for appending.
func treeWrite(args []string) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	if _, err := os.Lstat(args[0]); err != nil {
		return "", err
	}
	last := error(&no{"no file below " + args[0]})
	opened := ""
	_ = filepath.WalkDir(args[0], func(path string, d os.DirEntry, err error) error {
		if err != nil {
			last = err
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_APPEND|unix.O_CLOEXEC, 0)
		if err != nil {
			last = err
			return nil
		}
		opened = path
		return unix.Close(fd)
	})
	if opened != "" {
		return "opened " + opened, nil
	}
	return "", last
}

func create(args []string) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	fd, err := unix.Open(args[0], unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o755)
	if err != nil {
		return "", err
	}
	return "", unix.Close(fd)
}

func appendTo(args []string) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	fd, err := unix.Open(args[0], unix.O_WRONLY|unix.O_APPEND|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte("probe\n"))
	return "", err
}

// hook is PATH: make PATH, with its directories, an executable script.
func hook(args []string) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	if err := os.MkdirAll(filepath.Dir(args[0]), 0o755); err != nil {
		return "directories", err
	}
	return "", os.WriteFile(args[0], []byte("#!/bin/sh\nexit 0\n"), 0o755)
}

// mknod is PATH MAJOR MINOR: a block device node.
func mknod(args []string) (string, error) {
	if len(args) != 3 {
		return "", errUsage
	}
	major, err := strconv.ParseUint(args[1], 10, 32)
	if err != nil {
		return "", err
	}
	minor, err := strconv.ParseUint(args[2], 10, 32)
	if err != nil {
		return "", err
	}
	if err := unix.Mknod(args[0], unix.S_IFBLK|0o600, int(unix.Mkdev(uint32(major), uint32(minor)))); err != nil {
		return "", err
	}
	return "made", unix.Unlink(args[0])
}

func tmpfile(args []string) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	fd, err := unix.Open(args[0], unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return "", err
	}
	return "", unix.Close(fd)
}

func exchange(a, b string) error {
	return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}

// linkRead is SECRET LINK: a hard link to a file, read through the link.
func linkRead(args []string) (string, error) {
	if len(args) != 2 {
		return "", errUsage
	}
	if err := unix.Link(args[0], args[1]); err != nil {
		return "link", err
	}
	return readFile(args[1:])
}

// symlinkWrite is DIRECTORY LINK NAME: LINK -> DIRECTORY, then LINK/NAME is made.
func symlinkWrite(args []string) (string, error) {
	if len(args) != 3 {
		return "", errUsage
	}
	if err := unix.Symlink(args[0], args[1]); err != nil {
		return "symlink", err
	}
	return create([]string{filepath.Join(args[1], args[2])})
}

// setFlags makes a file "do not dump" (FS_NODUMP_FL), which its owner may.
func setFlags(fd int) error {
	const noDump = 0x40
	flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
	if err != nil {
		return err
	}
	return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags|noDump)
}

// mmapWrite is PATH: change its first byte through a shared mapping.
func mmapWrite(args []string) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	fd, err := unix.Open(args[0], unix.O_RDWR|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EROFS) {
		fd, err = unix.Open(args[0], unix.O_RDONLY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return "open", err
	}
	defer unix.Close(fd)
	m, err := unix.Mmap(fd, 0, 1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return "mmap", err
	}
	m[0] ^= 0x20
	return "", unix.Munmap(m)
}

func fallocate(args []string) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	fd, err := unix.Open(args[0], unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "open", err
	}
	defer unix.Close(fd)
	return "", unix.Fallocate(fd, 0, 0, 1<<16)
}
