//go:build !linux

// Package stub is the first program inside a Linux sandbox; elsewhere there is none.
package stub

// Arg is the first argument that makes the firma binary run as the stub.
const Arg = "__sandbox-init"

// Main refuses: this platform has no such sandbox.
func Main([]string) int { return 125 }
