package profile

import (
	"bytes"
	"os"
	"path/filepath"

	"firma/internal/sandbox"
)

// phpSettings are the directories where PHP for the command line finds which
// extensions to load: Debian's and Fedora's.
var phpSettings = []string{"/etc/php/*/cli/conf.d", "/etc/php.d"}

// maxPHPSettings bounds one of their files, in bytes.
const maxPHPSettings = 1 << 16

// phpExtensions shows those directories as one file each that holds the lines that
// load an extension and no other: without them PHP has neither curl nor phar, and
// the rest may hold a key of some vendor's.
func phpExtensions(spec *sandbox.Spec, patterns []string) {
	for _, pattern := range patterns {
		dirs, _ := filepath.Glob(pattern) // the patterns are well-formed
		for _, dir := range dirs {
			if lines := phpLoads(dir); len(lines) > 0 {
				spec.Files = append(spec.Files, sandbox.File{Path: filepath.Join(dir, "extensions.ini"), Data: lines})
			}
		}
	}
}

func phpLoads(dir string) (lines []byte) {
	files, _ := filepath.Glob(filepath.Join(dir, "*.ini")) // in the order in which PHP reads them
	for _, p := range files {
		info, err := os.Stat(p)
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxPHPSettings {
			continue
		}
		data, _ := os.ReadFile(p)
		for line := range bytes.Lines(data) {
			key, _, ok := bytes.Cut(line, []byte("="))
			if key = bytes.TrimSpace(key); ok && (string(key) == "extension" || string(key) == "zend_extension") {
				lines = append(append(lines, bytes.TrimRight(line, "\r\n")...), '\n')
			}
		}
	}
	return lines
}
