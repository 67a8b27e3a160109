//go:build !unix

package ca

import (
	"io/fs"
	"os"
)

func openFile(path string) (*os.File, error) { return os.Open(path) }

// Windows keeps its rights elsewhere and is not checked.
func ownedByUs(fs.FileInfo) bool     { return true }
func tooOpen(fs.FileInfo, bool) bool { return false }
