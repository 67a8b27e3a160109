//go:build !unix

package audit

import (
	"io/fs"

	"firma/internal/fault"
)

const openFlags = 0

// ownedByUs refuses: this system's owners and access lists are not checked here.
func ownedByUs(fs.FileInfo) error {
	return fault.New("AuditUnsupported", "firma cannot check who owns a file on this system",
		"run the Sidecar on Linux or macOS; `firma audit verify` works everywhere")
}
