package account

import (
	"fmt"
	"io/fs"
	"os/exec"
	"os/user"
	"path/filepath"
	"syscall"
)

func create() (*user.User, error) {
	out, err := exec.Command("useradd", "--create-home", "--shell", "/bin/bash", Name).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("make the account %s: %w: %s(apt-get install passwd)", Name, err, out)
	}
	return user.Lookup(Name)
}

// Apply makes cmd run as the account, with no groups but its own.
func (a Account) Apply(cmd *exec.Cmd) {
	if !a.switches {
		return
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(a.UID), Gid: uint32(a.GID), Groups: []uint32{uint32(a.GID)}}
}

// OwnTree gives a directory and all below it to the account.
func (a Account) OwnTree(root string) error {
	return filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return a.Own(path)
	})
}
