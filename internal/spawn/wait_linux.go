package spawn

import "golang.org/x/sys/unix"

// waitExited returns when pid has ended, and leaves it to be reaped.
func waitExited(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err
		}
	}
}
