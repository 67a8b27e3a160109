package ca

import (
	"os"
	"path/filepath"

	"firma/internal/fault"
)

// Rotate replaces the pair in dir by a new one and keeps the old as *.old, modes
// unchanged, over an older *.old. A dir without a pair gets one. Processes that
// run go on with the old authority until they are started again.
func Rotate(dir string) (*CA, error) {
	for _, name := range []string{KeyFile, CertFile} {
		p := filepath.Join(dir, name)
		if missing(p) {
			continue
		}
		if err := os.Rename(p, p+".old"); err != nil {
			return nil, fault.Wrap(err, faultName, p+" could not be moved away", "make the directory yours: it must be writable for you")
		}
	}
	return Create(dir)
}
