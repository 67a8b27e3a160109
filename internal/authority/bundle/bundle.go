// Package bundle reads a directory of Cedar policies, names its content and
// tells every watcher when the current bundle changes. It does not evaluate.
package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"firma/internal/fault"
	"firma/internal/policy"
	"firma/internal/wire"
)

const faultName = "PolicyInvalid"

// Bundle is validated policy text ready to be sent. It is immutable.
type Bundle struct {
	Version  string
	Policies []byte        // concatenated Cedar text
	Schema   []byte        // nil: the schema built into the reader
	TTL      time.Duration // whole seconds
	Loaded   time.Time
}

// Version returns the first 8 hex digits of the text's SHA-256 (wire.md 10).
func Version(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:4])
}

// Read returns every regular *.cedar file directly inside dir, in the order of
// their names, as one text. A directory without a policy is an error.
func Read(dir string) ([]byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fault.Wrap(err, faultName, "the policy directory "+dir+" cannot be read",
			"create it, or set policy_dir or issuance_policy_dir in [authority]")
	}
	var files []policy.File
	size := 0
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".cedar" || e.IsDir() {
			continue
		}
		path := filepath.Join(dir, e.Name())
		data, err := readRegular(path)
		if err != nil {
			return nil, fault.Wrap(err, faultName, path+" cannot be read", "check the file's kind, size, mode and owner")
		}
		if size += len(data); size > 0 {
			files = append(files, policy.File{Name: e.Name(), Text: data})
		}
		if err := tooLarge(size, dir); err != nil {
			return nil, err
		}
	}
	if len(files) == 0 {
		return nil, fault.New(faultName, "there is no policy (*.cedar) in "+dir,
			"write one, or leave the directory out of [authority] to use the dev posture; docs/policies.md has examples")
	}
	return policy.Join(files), nil
}

// readRegular follows links, and opens nothing that could block or never end.
func readRegular(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > wire.MaxBundleBytes {
		return nil, fmt.Errorf("not a regular file of at most %d bytes", wire.MaxBundleBytes)
	}
	return os.ReadFile(path)
}

func tooLarge(n int, where string) error {
	if n <= wire.MaxBundleBytes {
		return nil
	}
	return fault.New(faultName, fmt.Sprintf("the policies in %s are larger than %d bytes", where, wire.MaxBundleBytes),
		"split them over several Authorities; no Sidecar loads more")
}

// New validates text (against schema, or the built-in one when nil) and returns
// the bundle to serve and its compiled form. where names the text in errors; ""
// is a text that no file holds.
func New(where string, text, schema []byte, ttl time.Duration, now time.Time) (*Bundle, *policy.Bundle, error) {
	if err := tooLarge(max(len(text), len(schema)), where); err != nil {
		return nil, nil, err
	}
	b := &Bundle{Version: Version(text), Policies: text, Schema: schema, TTL: ttl, Loaded: now}
	compiled, err := policy.Compile(b.Version, text, schema)
	if err != nil {
		return nil, nil, invalid(where, err)
	}
	return b, compiled, nil
}

func invalid(where string, err error) error {
	var problems *policy.Error
	if errors.As(err, &problems) {
		err = problems
	}
	if where == "" {
		where = "memory"
	}
	return fault.Wrap(err, faultName, "the policies in "+where+" are not valid, and nothing of them is in force",
		"correct them; `firma policy validate FILE` checks one file")
}

// Source holds the current bundle for any number of watchers. It is safe for
// concurrent use.
type Source struct {
	mu      sync.Mutex
	current *Bundle
	changed chan struct{} // closed when current is replaced
}

// NewSource returns a source that serves b.
func NewSource(b *Bundle) *Source { return &Source{current: b, changed: make(chan struct{})} }

// Current returns the bundle and a channel that is closed once it is no longer
// the current one.
func (s *Source) Current() (*Bundle, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current, s.changed
}

// Set replaces the bundle and wakes every watcher.
func (s *Source) Set(b *Bundle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = b
	close(s.changed)
	s.changed = make(chan struct{})
}
