package audit

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// The kinds of checkpoint.
const (
	CheckpointOpen     = "open"     // the first, of the empty log
	CheckpointPeriodic = "periodic" // while the log grows
	CheckpointFinal    = "final"    // Close: no event may follow
	CheckpointFailed   = "failed"   // Close after a write error: what was written before it
)

// originPrefix starts the first line of every checkpoint, so that its signature
// can never be taken for a signature of something else.
const originPrefix = Schema + "/"

// timeLayout is RFC 3339 in UTC with exactly six decimals.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// Checkpoint is the signed statement that a log had Size events with the Merkle
// root Root at Time. It is immutable. Its JSON form is one line of the
// checkpoint file: the signed text, the key's identifier and the signature.
type Checkpoint struct {
	Origin     string    // names the log; without the prefix firma.audit.v1/
	Size       uint64    // events
	Root       tlog.Hash // RFC 6962
	Number     uint64    // 0 for the first checkpoint of a log, without gaps
	Time       time.Time // UTC, whole microseconds
	Kind       string
	SignEvents bool // each event is signed too

	KeyID     string // hex SHA-256 of the public key's SubjectPublicKeyInfo
	Signature []byte // of Body; DER for ECDSA, 64 bytes for Ed25519
}

// Body returns the exact bytes that are signed: a C2SP tlog-checkpoint body with
// four extension lines, each line ended by a line feed.
func (c *Checkpoint) Body() []byte {
	sign := "checkpoint"
	if c.SignEvents {
		sign = "event"
	}
	return fmt.Appendf(nil, "%s%s\n%d\n%s\nnumber %d\ntime %s\nkind %s\nsign %s\n", originPrefix, c.Origin,
		c.Size, c.Root, c.Number, c.Time.UTC().Format(timeLayout), c.Kind, sign)
}

// Sealed reports whether the checkpoint ends its log.
func (c *Checkpoint) Sealed() bool { return c.Kind == CheckpointFinal }

// String returns one line for people: what to keep to notice a removed log.
func (c *Checkpoint) String() string {
	return fmt.Sprintf("%s%s: %d events, root %s, checkpoint %d (%s), key %.16s",
		originPrefix, c.Origin, c.Size, c.Root, c.Number, c.Kind, c.KeyID)
}

type checkpointJSON struct {
	Body      string `json:"body"`
	Key       string `json:"key"`
	Signature string `json:"signature"`
}

// MarshalJSON returns the line of the checkpoint file, without its line feed.
func (c Checkpoint) MarshalJSON() ([]byte, error) {
	return json.Marshal(checkpointJSON{string(c.Body()), c.KeyID, base64.StdEncoding.EncodeToString(c.Signature)})
}

// UnmarshalJSON reads exactly what MarshalJSON writes, apart from white space. It
// does not check the signature: see CheckCheckpoint.
func (c *Checkpoint) UnmarshalJSON(raw []byte) error {
	var j checkpointJSON
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&j); err != nil {
		return err
	}
	sig, err := base64.StdEncoding.Strict().DecodeString(j.Signature)
	if err != nil {
		return err
	}
	parsed, err := parseBody(j.Body)
	if err != nil {
		return err
	}
	parsed.KeyID, parsed.Signature = j.Key, sig
	*c = parsed
	return nil
}

// parseBody accepts only text that Body returns.
func parseBody(body string) (c Checkpoint, err error) {
	lines := strings.Split(body, "\n")
	if len(lines) != 8 {
		return c, errors.New("a checkpoint body has seven lines")
	}
	number, err1 := strconv.ParseUint(strings.TrimPrefix(lines[3], "number "), 10, 63)
	at, err2 := time.Parse(timeLayout, strings.TrimPrefix(lines[4], "time "))
	size, err3 := strconv.ParseUint(lines[1], 10, 62)
	root, err4 := tlog.ParseHash(lines[2])
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return c, err
	}
	c = Checkpoint{
		Origin: strings.TrimPrefix(lines[0], originPrefix), Size: size, Root: root, Number: number, Time: at,
		Kind: strings.TrimPrefix(lines[5], "kind "), SignEvents: lines[6] == "sign event",
	}
	if string(c.Body()) != body || !knownKind(c.Kind) || !validOrigin(c.Origin) {
		return c, errors.New("the checkpoint body is not in firma's form")
	}
	return c, nil
}

func knownKind(kind string) bool {
	switch kind {
	case CheckpointOpen, CheckpointPeriodic, CheckpointFinal, CheckpointFailed:
		return true
	}
	return false
}

// validOrigin allows what needs no escape in JSON, in a shell or in a file name.
func validOrigin(s string) bool {
	for _, c := range []byte(s) {
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && !strings.ContainsRune("-._/:@", rune(c)) {
			return false
		}
	}
	return s != "" && len(s) <= 200
}

// sign completes c with the key's identifier and signature.
func (c *Checkpoint) sign(k *Key) (err error) {
	c.KeyID = k.ID()
	c.Signature, err = k.sign(c.Body())
	return err
}
