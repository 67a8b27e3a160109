//go:build !unix

package marker

// Alive is not known here.
func Alive(int, uint64) bool { return false }

// StateOf is not known here.
func StateOf(int, uint64) State { return Unknown }
