package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The parts of linux/io_uring.h that one request at a time needs.
const (
	opConnect = 16
	opSend    = 26
	opRecv    = 27
	opSocket  = 45

	offRings   = 0
	offEntries = 0x10000000
	getEvents  = 1
	oneMapping = 1 // IORING_FEAT_SINGLE_MMAP
)

type ringOffsets struct {
	Head, Tail, Mask, Entries, A, B, C, reserved uint32 // A B C differ by ring
	addr                                         uint64
}

type ringParams struct {
	sqEntries, cqEntries, flags, cpu, idle, features, wq uint32
	reserved                                             [3]uint32
	sq, cq                                               ringOffsets
}

type request struct {
	op, flags   uint8
	prio        uint16
	fd          int32
	off, addr   uint64
	len, opFlag uint32
	user        uint64
	rest        [3]uint64
}

type uring struct {
	fd    int
	p     ringParams
	rings []byte
	sqes  []byte
}

func newRing() (*uring, error) {
	r := &uring{}
	fd, err := call(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&r.p)))
	if err != nil {
		return nil, fmt.Errorf("io_uring_setup: %w", err)
	}
	r.fd = int(fd)
	if r.p.features&oneMapping == 0 {
		return nil, errors.New("kernel too old for this probe")
	}
	size := max(int(r.p.sq.C+r.p.sqEntries*4), int(r.p.cq.B+r.p.cqEntries*16))
	if r.rings, err = unix.Mmap(r.fd, offRings, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, err
	}
	r.sqes, err = unix.Mmap(r.fd, offEntries, int(r.p.sqEntries)*64, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return r, err
}

func (r *uring) word(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.rings[off])) }

// do submits one request and waits for its result.
func (r *uring) do(q request) (int, error) {
	*(*request)(unsafe.Pointer(&r.sqes[0])) = q
	tail := r.word(r.p.sq.Tail)
	*r.word(r.p.sq.C + (*tail&*r.word(r.p.sq.Mask))*4) = 0
	atomic.AddUint32(tail, 1)
	if _, err := call(unix.SYS_IO_URING_ENTER, uintptr(r.fd), 1, 1, getEvents); err != nil {
		return 0, fmt.Errorf("io_uring_enter: %w", err)
	}
	head := r.word(r.p.cq.Head)
	entry := r.p.cq.B + (*head&*r.word(r.p.cq.Mask))*16
	res := int32(*r.word(entry + 8))
	atomic.AddUint32(head, 1)
	if res < 0 {
		return 0, fmt.Errorf("op %d: %w", q.op, unix.Errno(-res))
	}
	return int(res), nil
}

// uringTalk is ADDR TOKEN, all through the ring: no socket, connect or send call.
func uringTalk(args []string) (string, error) {
	if len(args) != 2 {
		return "", errUsage
	}
	to, err := socketBytes(args[0])
	if err != nil {
		return "", err
	}
	r, err := newRing()
	if err != nil {
		return "", err
	}
	sock, err := r.do(request{op: opSocket, fd: unix.AF_INET, off: unix.SOCK_STREAM})
	if err != nil {
		return "", err
	}
	if _, err := r.do(request{op: opConnect, fd: int32(sock), addr: address(to), off: uint64(len(to))}); err != nil {
		return "", err
	}
	token, answer := []byte(args[1]), make([]byte, 4096)
	if _, err := r.do(request{op: opSend, fd: int32(sock), addr: address(token), len: uint32(len(token))}); err != nil {
		return "", err
	}
	n, err := r.do(request{op: opRecv, fd: int32(sock), addr: address(answer), len: uint32(len(answer))})
	if err != nil || string(answer[:n]) != args[1] {
		return "", fmt.Errorf("answered %q: %w", answer[:n], err)
	}
	return "the bait answered through the ring", nil
}

func address(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(&b[0]))) }
