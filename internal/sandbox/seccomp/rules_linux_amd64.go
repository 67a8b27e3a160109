package seccomp

import "golang.org/x/sys/unix"

var archCalls = []Call{{"iopl", unix.SYS_IOPL}, {"ioperm", unix.SYS_IOPERM}, {"modify_ldt", unix.SYS_MODIFY_LDT},
	{"uselib", unix.SYS_USELIB}, {"ustat", unix.SYS_USTAT}, {"sysfs", unix.SYS_SYSFS}, {"_sysctl", unix.SYS__SYSCTL},
	{"create_module", unix.SYS_CREATE_MODULE}, {"get_kernel_syms", unix.SYS_GET_KERNEL_SYMS},
	{"query_module", unix.SYS_QUERY_MODULE}}

var deleteCalls = []Call{{"unlink", unix.SYS_UNLINK}, {"unlinkat", unix.SYS_UNLINKAT}, {"rmdir", unix.SYS_RMDIR},
	{"rename", unix.SYS_RENAME}, {"renameat", unix.SYS_RENAMEAT}, {"renameat2", unix.SYS_RENAMEAT2}}

var modeCalls = []modeCall{{Call{"chmod", unix.SYS_CHMOD}, 1}, {Call{"fchmod", unix.SYS_FCHMOD}, 1},
	{Call{"fchmodat", unix.SYS_FCHMODAT}, 2}, {Call{"fchmodat2", unix.SYS_FCHMODAT2}, 2}}
