package audit

import (
	"errors"
	"path/filepath"
	"time"

	"firma/internal/fault"
)

// Options are the settings of a Log. Path, Origin and Key are required.
type Options struct {
	Path   string // the log; it must not exist. Checkpoints go to Path + CheckpointsSuffix
	Origin string // names this log for good: a run or sandbox identifier; letters, digits, -._/:@
	Key    *Key

	// CheckpointDir keeps the newest checkpoint of each log apart from the log,
	// as its base name + CheckpointSuffix, so that a shortened or removed log
	// shows. Empty: none is kept. Logs that share it need different base names.
	CheckpointDir string

	Strict     bool // Append returns after fsync, not after write
	SignEvents bool // sign every event, too, the contract's way

	Queue           int           // events waiting for the writer; 0 means 1024
	CheckpointEvery int           // events; 0 means 1000
	CheckpointAfter time.Duration // from the first unsigned event; 0 means 1 s

	Now func() time.Time // nil means time.Now

	// Witness is called with every checkpoint after it was stored, one at a
	// time and in order. While it runs no further checkpoint is made, so it must
	// return soon; appends do not wait for it, Close does. May be nil.
	Witness func(Checkpoint)
}

// The names of the files beside a log and in its checkpoint directory.
const (
	CheckpointsSuffix = ".checkpoints" // added to the log's path: every checkpoint, one per line
	CheckpointSuffix  = ".checkpoint"  // added to the log's base name: the newest one
)

// settle fills in defaults and refuses settings no log can be opened with.
func (o *Options) settle() error {
	if o.Path == "" || filepath.Base(o.Path) == "." {
		return errors.New("audit: no path")
	}
	if o.Key == nil {
		return fault.New("AuditKeyMissing", "the audit log has no signing key", "configure [sidecar.audit] signing_key_path")
	}
	if !validOrigin(o.Origin) {
		return errors.New("audit: the origin must be 1 to 200 letters, digits or -._/:@")
	}
	if o.Queue <= 0 {
		o.Queue = 1024
	}
	if o.CheckpointEvery <= 0 {
		o.CheckpointEvery = 1000
	}
	if o.CheckpointAfter <= 0 {
		o.CheckpointAfter = time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return nil
}
