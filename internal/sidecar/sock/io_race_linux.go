//go:build race

package sock

import "syscall"

// Recv reads from a socket that does not block. The race detector takes what was sent
// before for having happened before, as it does with package net.
func Recv(fd int, b []byte) (int, error) { return told(syscall.Read, fd, b) }

// Send writes what there is room for to a socket that does not block.
func Send(fd int, b []byte) (int, error) { return told(syscall.Write, fd, b) }

func told(do func(int, []byte) (int, error), fd int, b []byte) (int, error) {
	for {
		n, err := do(fd, b)
		switch err {
		case nil:
			return n, nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, errAgain
		default:
			return 0, err
		}
	}
}
