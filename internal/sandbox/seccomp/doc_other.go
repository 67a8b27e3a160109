//go:build !linux

// Package seccomp compiles the syscall filter of a Linux sandbox; elsewhere it is
// empty.
package seccomp
