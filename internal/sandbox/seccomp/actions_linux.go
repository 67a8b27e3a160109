package seccomp

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Actions are the names a policy may deny, in the order in which their calls are
// compiled.
var Actions = []string{"filesystem.delete", "credential.write"}

// Action returns the calls that a policy's deny action refuses, in a fixed order.
func Action(name string) ([]Call, error) {
	switch name {
	case "filesystem.delete":
		return deleteCalls, nil
	case "credential.write":
		return []Call{{"setuid", unix.SYS_SETUID}, {"setgid", unix.SYS_SETGID},
			{"setresuid", unix.SYS_SETRESUID}, {"setresgid", unix.SYS_SETRESGID}}, nil
	case "system.execute":
		return nil, errors.New("system.execute would refuse execve and execveat, and with them the start of the agent itself: the filter is loaded before it")
	}
	return nil, fmt.Errorf("there is no action %q that a filter can deny (have %s)", name, strings.Join(Actions, ", "))
}
