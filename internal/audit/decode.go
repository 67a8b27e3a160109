package audit

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"

	"golang.org/x/mod/sumdb/tlog"

	"firma/internal/audit/canon"
)

// reader decodes stored lines. It keeps scratch space: one per goroutine.
type reader struct {
	hash *hasher
	buf  []byte
}

func newReader() *reader { return &reader{hash: newHasher()} }

// stored is one line of a log as read back.
type stored struct {
	Event
	leaf tlog.Hash // of the canonical bytes
	// canonical says that the line is byte for byte what firma would write for
	// this event: same members, same order, same escapes, no white space.
	canonical bool
}

// read decodes one line without its line feed. An error means that it is not an
// event at all.
func (r *reader) read(raw []byte) (s stored, err error) {
	if err := json.Unmarshal(raw, &s.Event); err != nil {
		return s, err
	}
	if s.Schema != Schema {
		return s, errors.New("the schema is not " + Schema)
	}
	if s.Seq > canon.MaxInt {
		return s, errors.New("seq is not a number firma counts to")
	}
	r.buf, s.leaf, err = appendLine(r.buf[:0], r.hash, &s.Event)
	s.canonical = bytes.Equal(r.buf, raw)
	return s, err
}

// parseHex decodes a lower-case hex hash.
func parseHex(s string) (h tlog.Hash, err error) {
	if len(s) != hex.EncodedLen(len(h)) {
		return h, errors.New("a hash is not 64 hex digits")
	}
	_, err = hex.Decode(h[:], []byte(s))
	return h, err
}
