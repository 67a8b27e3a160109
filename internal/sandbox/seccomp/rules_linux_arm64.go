package seccomp

import "golang.org/x/sys/unix"

var archCalls []Call

// deleteCalls: this architecture has no unlink, rmdir and rename.
var deleteCalls = []Call{{"unlinkat", unix.SYS_UNLINKAT}, {"renameat", unix.SYS_RENAMEAT}, {"renameat2", unix.SYS_RENAMEAT2}}

// modeCalls: nor chmod.
var modeCalls = []modeCall{{Call{"fchmod", unix.SYS_FCHMOD}, 1}, {Call{"fchmodat", unix.SYS_FCHMODAT}, 2},
	{Call{"fchmodat2", unix.SYS_FCHMODAT2}, 2}}
