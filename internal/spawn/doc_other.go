//go:build !unix

// Package spawn starts the processes that must not outlive this one; it needs a
// Unix system.
package spawn
