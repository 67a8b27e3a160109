// Package seccomp compiles the syscall filter of a sandbox to classic BPF, the
// form bwrap --seccomp loads (seccomp(2)). The filter is data: rules_linux.go
// lists what is refused and why; everything else is allowed, since the wall is
// the namespaces and the mounts, and the filter takes away what reaches around
// them.
package seccomp

import (
	"encoding/binary"
	"fmt"
	"runtime"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Offsets into struct seccomp_data (linux/seccomp.h). Arguments are 64-bit; both
// supported architectures are little-endian, so the low word comes first.
const (
	offNr   = 0
	offArch = 4
	offArg0 = 16
)

func lowWord(arg int) uint32 { return uint32(offArg0 + 8*arg) }

const (
	retAllow = uint32(unix.SECCOMP_RET_ALLOW)
	retKill  = uint32(unix.SECCOMP_RET_KILL_PROCESS)
)

func retErrno(e unix.Errno) uint32 { return uint32(unix.SECCOMP_RET_ERRNO) | uint32(e) }

// Arch is this machine's architecture as the kernel names it, "" when there is no
// filter for it.
func Arch() string {
	return map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
}

// Compile returns the filter of this machine's architecture as an array of
// struct sock_filter: the base, and EPERM for each of extra. It is deterministic:
// same firma, same calls, same bytes.
func Compile(extra ...Call) ([]byte, error) {
	arch, ok := audits[runtime.GOARCH]
	if !ok {
		return nil, fmt.Errorf("seccomp: no filter for architecture %s (have amd64, arm64)", runtime.GOARCH)
	}
	raw, err := bpf.Assemble(program(arch, extra))
	if err != nil {
		return nil, fmt.Errorf("seccomp: %w", err)
	}
	out := make([]byte, 0, size*len(raw))
	for _, in := range raw {
		out = binary.LittleEndian.AppendUint16(out, in.Op)
		out = append(out, in.Jt, in.Jf)
		out = binary.LittleEndian.AppendUint32(out, in.K)
	}
	return out, Check(out)
}

// program checks the architecture before anything else: syscall numbers mean
// nothing without it, and int 0x80 would otherwise pass every rule below.
func program(arch uint32, extra []Call) []bpf.Instruction {
	p := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: arch, SkipTrue: 1},
		bpf.RetConstant{Val: retKill},
		bpf.LoadAbsolute{Off: offNr, Size: 4},
		// x32 numbers carry bit 30; no native number does, on any architecture.
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: 0x40000000, SkipTrue: 1},
		bpf.RetConstant{Val: retKill},
	}
	for _, r := range append(Base(), Refusal{Calls: extra, Errno: unix.EPERM}) {
		for _, c := range r.Calls {
			p = append(p,
				bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: c.Nr, SkipTrue: 1},
				bpf.RetConstant{Val: retErrno(r.Errno)})
		}
	}
	for _, c := range conditional() {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: c.call.Nr, SkipTrue: uint8(len(c.body))})
		p = append(p, c.body...)
	}
	return append(p, bpf.RetConstant{Val: retAllow})
}
