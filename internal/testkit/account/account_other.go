//go:build !linux

package account

import (
	"errors"
	"os/exec"
	"os/user"
)

func create() (*user.User, error) {
	return nil, errors.New("making a test account is only built for Linux")
}

// Apply leaves the command to this process's own account.
func (a Account) Apply(*exec.Cmd) {}

// OwnTree does nothing: there is no other account.
func (a Account) OwnTree(string) error { return nil }
