// Package marker keeps a directory for each run that is under way, below run/ of
// the state directory: metadata.toml says what the run is, sidecar.pid which
// process its Sidecar is. Whoever looks for Sidecars finds them there.
package marker

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"firma/internal/ids"
)

// Run is one run with a Sidecar of its own.
type Run struct {
	SandboxID           string `toml:"sandbox_id"`
	AgentID             string `toml:"agent_id"`
	SessionID           string `toml:"session_id"`
	AuthorityURL        string `toml:"authority_url"`
	PolicyBundleVersion string `toml:"policy_bundle_version"`
	PID                 int    `toml:"pid"`        // of the Sidecar
	StartedAt           string `toml:"started_at"` // RFC 3339

	// Born tells this process from a later one with the same pid: see Born. Ours;
	// 0 where the system does not say.
	Born uint64 `toml:"pid_start"`
}

const (
	metadata = "metadata.toml"
	pidFile  = "sidecar.pid"
	maxBytes = 64 << 10 // of a metadata.toml
)

// Dir is the directory of one run. id must be a sandbox id.
func Dir(stateDir, id string) string { return filepath.Join(stateDir, "run", id) }

// Write makes the marker of a run. A reader sees all of it or none.
func Write(stateDir string, r Run) error {
	if !ids.Valid(ids.Sandbox, r.SandboxID) {
		return fmt.Errorf("marker: %q is not a sandbox id", r.SandboxID)
	}
	r.Born = Born(r.PID)
	text, err := toml.Marshal(r)
	if err != nil {
		return err
	}
	dir := Dir(stateDir, r.SandboxID)
	err = os.MkdirAll(dir, 0o700)
	if err == nil {
		err = WritePID(filepath.Join(dir, pidFile), r.PID)
	}
	if err != nil {
		return err
	}
	temp := filepath.Join(dir, "."+metadata)
	if err := os.WriteFile(temp, text, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, filepath.Join(dir, metadata))
}

// Remove takes the marker of a run away. Other files in its directory stay.
func Remove(stateDir, id string) {
	if !ids.Valid(ids.Sandbox, id) {
		return
	}
	dir := Dir(stateDir, id)
	for _, name := range []string{metadata, "." + metadata, pidFile, ""} {
		_ = os.Remove(filepath.Join(dir, name))
	}
}

// List returns the runs that have a marker, oldest first. A marker that can't be
// read is left out: another version may have written it.
func List(stateDir string) ([]Run, error) {
	entries, err := os.ReadDir(filepath.Join(stateDir, "run"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var runs []Run
	for _, e := range entries {
		if r, err := read(stateDir, e.Name()); err == nil {
			runs = append(runs, r)
		}
	}
	slices.SortFunc(runs, func(a, b Run) int { return strings.Compare(a.SandboxID, b.SandboxID) })
	return runs, nil
}

// read returns the run of one marker. All of the contract's keys must be there,
// and it must be about the run whose directory it lies in.
func read(stateDir, id string) (Run, error) {
	var r Run
	if !ids.Valid(ids.Sandbox, id) {
		return r, errors.New("not a sandbox id")
	}
	path := filepath.Join(Dir(stateDir, id), metadata)
	info, err := os.Lstat(path)
	if err != nil {
		return r, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxBytes {
		return r, errors.New("not a metadata file")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	if err := toml.NewDecoder(bytes.NewReader(data)).Decode(&r); err != nil {
		return r, err
	}
	if _, err := time.Parse(time.RFC3339, r.StartedAt); err != nil || r.SandboxID != id || r.AgentID == "" || r.SessionID == "" || r.PID <= 0 {
		return r, errors.New("incomplete")
	}
	return r, nil
}

// Started is when the run began.
func (r *Run) Started() time.Time {
	t, _ := time.Parse(time.RFC3339, r.StartedAt) // read has checked it
	return t
}
