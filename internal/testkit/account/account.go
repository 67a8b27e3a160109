// Package account runs test commands as root and as an ordinary user, since a
// sandbox must hold for both and they fail differently.
package account

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
)

// Name is the throwaway account that stands for an ordinary user when the tests
// run as root.
const Name = "firma-test"

// Account is an identity to run a command as.
type Account struct {
	Name     string // "root" or the account's name
	UID, GID int
	Home     string
	switches bool // the tests' own identity is another one
}

// Ordinary reports whether the account is not root.
func (a Account) Ordinary() bool { return a.UID != 0 }

// All returns the identities the tests can take: this one, and if it is root also
// the throwaway account, made with useradd when absent.
func All() ([]Account, error) {
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	own, err := from(me, false)
	if err != nil || own.Ordinary() {
		return []Account{own}, err
	}
	u, err := user.Lookup(Name)
	if err != nil {
		if u, err = create(); err != nil {
			return nil, err
		}
	}
	other, err := from(u, true)
	return []Account{own, other}, err
}

func from(u *user.User, switches bool) (Account, error) {
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return Account{}, err
	}
	gid, err := strconv.Atoi(u.Gid)
	return Account{u.Username, uid, gid, u.HomeDir, switches}, err
}

// Own gives paths to the account, without following links.
func (a Account) Own(paths ...string) error {
	if !a.switches {
		return nil
	}
	for _, p := range paths {
		if err := os.Lchown(p, a.UID, a.GID); err != nil {
			return fmt.Errorf("give %s to %s: %w", p, a.Name, err)
		}
	}
	return nil
}
