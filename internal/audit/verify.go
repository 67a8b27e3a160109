package audit

import (
	"crypto"
	"errors"
	"io"
	"io/fs"

	"firma/internal/fault"
)

// VerifyOptions say what to verify and against what. Path and Key are required.
type VerifyOptions struct {
	Path string           // the log; its checkpoints are at Path + CheckpointsSuffix
	Key  crypto.PublicKey // ECDSA P-256 or Ed25519

	OldKeys       []crypto.PublicKey // keys retired by rotation that may have signed it
	CheckpointDir string             // as in Options; "" leaves the separate copy out
	Origin        string             // as in Options; "" accepts the origin the log claims
	Known         []Checkpoint       // kept by people or witnesses; the log must agree with them
}

// Verify checks a log: every event's form, place, hash and link, every
// checkpoint's signature and root, and that nothing signed is gone. What is wrong
// is in the Report; the error is for what kept Verify from looking. It reads the
// log once, line by line, and may run while the log is being written.
func Verify(o VerifyOptions) (Report, error) {
	r := Report{Path: o.Path, Problems: []Problem{}}
	ring, err := newKeyring(o.Key, o.OldKeys)
	if err != nil {
		return r, err
	}
	cs := &checkpoints{ring: ring, origin: o.Origin, report: &r}
	// What is signed first is read first: a log in use only grows meanwhile.
	loadPins(cs, &o)
	signed, err := openSnapshot(o.Path + CheckpointsSuffix)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r, unreadable(err, o.Path+CheckpointsSuffix)
	}
	defer signed.Close()
	log, err := openSnapshot(o.Path)
	if errors.Is(err, fs.ErrNotExist) && (signed.f != nil || len(cs.pins) > 0 || r.ProblemCount > 0) {
		return removed(r, cs), nil
	}
	if err != nil {
		return r, unreadable(err, o.Path)
	}
	defer log.Close()
	if signed.f == nil {
		r.add(ProblemCheckpointMissing, -1, "", 0, "the checkpoint file %s is missing", printable(o.Path+CheckpointsSuffix))
	}
	err = verifyFiles(&r, cs, log, signed)
	return r, err
}

// growing is a log to verify; grew reports whether it has become longer since.
type growing interface {
	io.ReadSeeker
	grew() bool
}

func verifyFiles(r *Report, cs *checkpoints, log growing, signed io.Reader) error {
	cs.lines = newLines(signed)
	v := &verifier{report: r, reader: newReader(), signed: cs, log: log}
	if err := v.run(); err != nil {
		return unreadable(err, r.Path)
	}
	r.settle()
	return nil
}

func unreadable(err error, path string) error {
	return fault.Wrap(err, "AuditLogUnreadable", "the audit log "+printable(path)+" cannot be read", "give the path of a log you may read")
}

// removed is the report of a log of which only checkpoints are left.
func removed(r Report, cs *checkpoints) Report {
	text := "the log is gone"
	if c := cs.newest(); c != nil {
		r.Newest, r.Origin = c, c.Origin
		text += ": " + c.String()
	}
	r.add(ProblemLogMissing, -1, "", 0, "%s", text)
	r.settle()
	return r
}
