//go:build unix && !linux

package sock

import "golang.org/x/sys/unix"

// Peek reads from a socket and leaves what it read where it is. It does not wait.
func Peek(fd int, b []byte) (int, error) {
	for {
		n, _, err := unix.Recvfrom(fd, b, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		if err != unix.EINTR {
			return n, err
		}
	}
}
