//go:build !unix

package secretfile

import "io/fs"

const openFlags = 0

func foreign(fs.FileInfo) bool { return false }
