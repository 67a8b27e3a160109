package seccomp

import (
	"runtime"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// CloseSetup takes away from the calling thread, and from what it executes, what
// the filter leaves to the stub: sockets of netlink other than routing's. The
// filters of a process add up, so what the other one refuses stays refused. The
// thread must have no_new_privs, or the right to do without.
func CloseSetup() error {
	raw, err := bpf.Assemble(setupRules(audits[runtime.GOARCH]))
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, in := range raw {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	return load(filter)
}

func setupRules(arch uint32) []bpf.Instruction {
	refuse := bpf.RetConstant{Val: retErrno(unix.EPERM)}
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: offArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: arch, SkipTrue: 1},
		bpf.RetConstant{Val: retKill},
		bpf.LoadAbsolute{Off: offNr, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.SYS_SOCKET, SkipTrue: 5},
		bpf.LoadAbsolute{Off: lowWord(0), Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.AF_NETLINK, SkipTrue: 3},
		bpf.LoadAbsolute{Off: lowWord(2), Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.NETLINK_ROUTE, SkipTrue: 1},
		refuse,
		bpf.RetConstant{Val: retAllow},
	}
}
