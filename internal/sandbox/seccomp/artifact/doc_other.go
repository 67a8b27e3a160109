//go:build !linux

// Package artifact keeps the compiled syscall filter of a Linux sandbox on disk;
// elsewhere it is empty.
package artifact
