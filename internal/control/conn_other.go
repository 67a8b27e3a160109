//go:build unix && !linux

package control

import "syscall"

const seqpacket = syscall.SOCK_STREAM
