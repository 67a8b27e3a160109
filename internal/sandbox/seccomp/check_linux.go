package seccomp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Limits of a filter (linux/filter.h, linux/bpf_common.h).
const (
	size            = 8    // bytes of struct sock_filter
	maxInstructions = 4096 // BPF_MAXINSNS
	dataSize        = 64   // bytes of struct seccomp_data
)

type instruction struct {
	op     uint16
	jt, jf uint8
	k      uint32
}

func decode(filter []byte) []instruction {
	p := make([]instruction, len(filter)/size)
	for i := range p {
		b := filter[size*i:]
		p[i] = instruction{binary.LittleEndian.Uint16(b), b[2], b[3], binary.LittleEndian.Uint32(b[4:])}
	}
	return p
}

// The operations that Compile uses (linux/bpf_common.h).
const (
	opLoad   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	opAnd    = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	opJump   = unix.BPF_JMP | unix.BPF_JA
	opEqual  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	opAbove  = unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K
	opAtMost = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	opSet    = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	opReturn = unix.BPF_RET | unix.BPF_K
)

// Check says why filter can't be one that Compile made: its size, its first three
// instructions (which judge the architecture), an operation the compiler does not
// use, or a jump or a load that leaves its bounds. It does not say what the filter
// refuses; see Prove.
func Check(filter []byte) error {
	switch {
	case len(filter) == 0:
		return errors.New("it is empty")
	case len(filter)%size != 0:
		return fmt.Errorf("its %d bytes are not a whole number of instructions", len(filter))
	case len(filter)/size > maxInstructions:
		return fmt.Errorf("its %d instructions exceed the kernel's %d", len(filter)/size, maxInstructions)
	}
	p := decode(filter)
	if !judgesArchitecture(p) {
		return errors.New("it does not begin with the check of the architecture")
	}
	for i, in := range p {
		if err := in.check(len(p) - i - 1); err != nil {
			return fmt.Errorf("instruction %d: %w", i, err)
		}
	}
	if p[len(p)-1].op != opReturn {
		return errors.New("it does not end in a return")
	}
	return nil
}

func judgesArchitecture(p []instruction) bool {
	return len(p) > 3 &&
		p[0] == instruction{op: opLoad, k: offArch} &&
		p[1] == instruction{op: opEqual, jt: 1, k: audits[runtime.GOARCH]} &&
		p[2] == instruction{op: opReturn, k: retKill}
}

// check judges one instruction that rest others follow.
func (in instruction) check(rest int) error {
	switch in.op {
	case opLoad:
		if in.k%4 != 0 || in.k > dataSize-4 {
			return fmt.Errorf("it loads from offset %d", in.k)
		}
	case opJump:
		if in.k >= uint32(rest) {
			return errors.New("it jumps past the end")
		}
	case opEqual, opAbove, opAtMost, opSet:
		if int(max(in.jt, in.jf)) >= rest {
			return errors.New("it jumps past the end")
		}
	case opAnd, opReturn:
	default:
		return fmt.Errorf("operation %#x is none of a syscall filter's", in.op)
	}
	return nil
}
