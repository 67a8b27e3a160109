package main

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Techniques against the terminal. The kernel reads 32 bits of an ioctl's request
// but a filter may compare 64: HIGH ("0" or "1") sets bits above them.
var terminalTechniques = map[string]technique{
	"tiocsti-own": typeOwn,
	"tiocsti":     typeInto,
	"tioclinux":   consolePaste,
	"tiocsetd":    discipline,
	"tty":         controlling,
}

func request64(nr uintptr, high string) uintptr {
	if high == "1" {
		return nr | 1<<40
	}
	return nr
}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	_, err := call(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
	return err
}

// typeOwn is HIGH: make a terminal, take it as the controlling one, and type into
// it. It harms nobody; whoever can do it can do it to the operator's terminal too.
func typeOwn(args []string) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	_, slave, err := newTerminal()
	if err != nil {
		return "", err
	}
	if _, err := unix.Setsid(); err != nil {
		return "setsid", err
	}
	if err := ioctl(slave, unix.TIOCSCTTY, nil); err != nil {
		return "TIOCSCTTY", err
	}
	return pushByte(slave, args[0])
}

func newTerminal() (master, slave int, err error) {
	master, err = unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, 0, fmt.Errorf("/dev/ptmx: %w", err)
	}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return 0, 0, err
	}
	fd, err := call(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY)
	return master, int(fd), err
}

func pushByte(fd int, high string) (string, error) {
	c := []byte{'~'}
	if err := ioctl(fd, request64(unix.TIOCSTI, high), unsafe.Pointer(&c[0])); err != nil {
		return "TIOCSTI", err
	}
	return "typed", nil
}

// typeInto is DESCRIPTOR TEXT HIGH: type a line into a terminal that was handed in.
func typeInto(args []string) (string, error) {
	if len(args) != 3 || len(args[0]) != 1 {
		return "", errUsage
	}
	for _, c := range []byte(args[1] + "\n") {
		if err := ioctl(int(args[0][0]-'0'), request64(unix.TIOCSTI, args[2]), unsafe.Pointer(&c)); err != nil {
			return "", err
		}
	}
	return "typed", nil
}

// consolePaste is DESCRIPTOR HIGH: TIOCLINUX's "paste selection" on a terminal.
// ENOTTY is the answer of a terminal that is no console, after the filter.
func consolePaste(args []string) (string, error) {
	if len(args) != 2 {
		return "", errUsage
	}
	fd := 0
	if args[0] == "own" {
		_, slave, err := newTerminal()
		if err != nil {
			return "", err
		}
		fd = slave
	}
	sub := []byte{3}
	err := ioctl(fd, request64(unix.TIOCLINUX, args[1]), unsafe.Pointer(&sub[0]))
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
		return "only not a console", nil
	}
	return "", err
}

// discipline loads a line discipline, which is a kernel module's code on request.
func discipline([]string) (string, error) {
	_, slave, err := newTerminal()
	if err != nil {
		return "", err
	}
	none := int32(0) // N_TTY, what it already is
	return "", os.NewSyscallError("TIOCSETD", ioctl(slave, unix.TIOCSETD, unsafe.Pointer(&none)))
}

// controlling is TEXT: write to the controlling terminal, whatever the standard
// streams are.
func controlling(args []string) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(args[0]+"\n"))
	return "", err
}
