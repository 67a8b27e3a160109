package registries

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime"
)

// fingerprint is the cache key: a hash over all that the answer depends on and
// that can be had by stat calls. A different firma, home or user is a different
// key.
func fingerprint(h *host) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "registries 1 %s\n%q\n%d\n", runtime.GOOS, h.Home, os.Getuid())
	for _, s := range sources() {
		for _, f := range s.facts(h) {
			fmt.Fprintf(sum, "%s %q\n", s.name, f)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// exeFact identifies a client by its path and by the file that path leads to.
func exeFact(exe string) string { return "exe " + statFact(exe) }

// fileFact is a configuration file's path, time and size, or its absence.
func (h *host) fileFact(path string) string {
	if path == "" {
		return "no file"
	}
	return statFact(path)
}

func statFact(path string) string {
	st, err := os.Stat(path)
	if err != nil {
		return path + " absent"
	}
	return fmt.Sprintf("%s %d %d", path, st.ModTime().UnixNano(), st.Size())
}

// maxFile bounds a configuration file: 1 MiB.
const maxFile = 1 << 20

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: larger than 1 MiB", path)
	}
	return data, nil
}
