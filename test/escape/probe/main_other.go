//go:build !linux

// Command probe is the inside part of the escape suite; its techniques are Linux's.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "probe: only for Linux sandboxes")
	os.Exit(2)
}
