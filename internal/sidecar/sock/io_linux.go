//go:build !race

package sock

import "golang.org/x/sys/unix"

// Recv reads from a socket that does not block.
func Recv(fd int, b []byte) (int, error) { return bytesOf(unix.SYS_RECVFROM, fd, b, 0) }

// Send writes what there is room for to a socket that does not block.
func Send(fd int, b []byte) (int, error) { return bytesOf(unix.SYS_SENDTO, fd, b, unix.MSG_NOSIGNAL) }
