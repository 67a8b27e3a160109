//go:build unix

package registries

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// openOwn opens a file for reading if it is a plain file of this user that nobody
// else can write. The check is on the open file, so it can't be swapped in between.
func openOwn(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil {
		err = checkOwn(path, st)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func checkOwn(path string, st os.FileInfo) error {
	sys, ok := st.Sys().(*syscall.Stat_t)
	switch {
	case !ok || !st.Mode().IsRegular():
		return fmt.Errorf("%s: not a plain file", path)
	case int(sys.Uid) != os.Geteuid():
		return fmt.Errorf("%s: belongs to user %d", path, sys.Uid)
	case st.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s: others may write it (mode %o)", path, st.Mode().Perm())
	}
	return nil
}

// ownGroup makes a client and whatever it starts end together.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// endGroup ends what a failed client left behind.
func endGroup(cmd *exec.Cmd) {
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
}
