package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"

	"firma/internal/audit/canon"
)

// line is an event in canonical form with two gaps that are filled when its
// place in the log is known. So the callers encode, in parallel, and the one
// writer only copies and hashes. Members are sorted as RFC 8785 demands; all
// keys are ASCII, so that is byte order.
type line struct {
	buf    []byte // everything but the digits of seq; prev_hash is 64 zeros
	prevAt int    // where the 64 digits of prev_hash go
	seqAt  int    // where the digits of seq go
	sigAt  int    // buf[sigAt:sigEnd] is the signature member, not part of the
	sigEnd int    // canonical bytes; empty without a signature
}

const zeroHash = "0000000000000000000000000000000000000000000000000000000000000000"

// encode fills l with e, reusing l.buf. It fails only for an unusable e.Info.
func (l *line) encode(e *Event) (err error) {
	b := append(l.buf[:0], '{')
	b = str(b, `"action":`, e.Action)
	b = str(b, `,"agent_id":`, e.AgentID)
	b = str(b, `,"bundle_version":`, e.BundleVersion)
	b = str(b, `,"context_hash":`, e.ContextHash)
	b = num(b, `,"decision":`, int64(e.Decision))
	b = str(b, `,"deny_reason":`, e.DenyReason)
	b = num(b, `,"dispatch_latency_us":`, clamp(e.DispatchLatencyUS))
	b = num(b, `,"dispatch_status":`, clamp(int64(e.DispatchStatus)))
	b = num(b, `,"enforcement_latency_us":`, clamp(e.EnforcementLatencyUS))
	b = str(b, `,"event_id":`, e.EventID)
	if e.Info != nil {
		if b, err = canon.AppendObject(append(b, `,"info":`...), e.Info); err != nil {
			return err
		}
	}
	b = str(b, `,"kind":`, e.Kind)
	b = str(b, `,"outcome":`, e.Outcome)
	b = str(b, `,"parent_action_id":`, e.ParentActionID)
	b = append(b, `,"prev_hash":"`...)
	l.prevAt = len(b)
	b = append(append(b, zeroHash...), '"')
	b = str(b, `,"provenance":`, e.Provenance)
	b = str(b, `,"reason":`, string(e.Reason))
	b = str(b, `,"resource":`, e.Resource)
	b = num(b, `,"response_size":`, clamp(e.ResponseSize))
	b = str(b, `,"sandbox_id":`, e.SandboxID)
	b = str(b, `,"schema":`, e.Schema)
	b = append(b, `,"seq":`...)
	l.seqAt = len(b)
	b = str(b, `,"session_id":`, e.SessionID)
	l.sigAt = len(b)
	if e.Signature != "" {
		b = str(b, `,"signature":`, e.Signature)
	}
	l.sigEnd = len(b)
	b = str(b, `,"thread_id":`, e.ThreadID)
	b = num(b, `,"timestamp":`, quantised(e.Timestamp))
	b = str(b, `,"token_id":`, e.TokenID)
	l.buf = append(b, '}')
	return nil
}

func str(b []byte, key, s string) []byte { return canon.AppendString(append(b, key...), s) }

func num(b []byte, key string, n int64) []byte { return strconv.AppendInt(append(b, key...), n, 10) }

// appendTo appends the line, signature included and without a line feed, as
// event seq after prev, and returns the hash of its canonical bytes. h is
// scratch space.
func (l *line) appendTo(dst []byte, h *hasher, prev tlog.Hash, seq uint64) ([]byte, tlog.Hash) {
	start := len(dst)
	dst = append(dst, l.buf[:l.seqAt]...)
	hex.Encode(dst[start+l.prevAt:], prev[:])
	dst = strconv.AppendUint(dst, seq, 10)
	shift := len(dst) - l.seqAt
	dst = append(dst, l.buf[l.seqAt:]...)
	return dst, h.leaf(dst[start:shift+l.sigAt], dst[shift+l.sigEnd:])
}

// hasher computes leaf hashes without allocating. It is for one goroutine.
type hasher struct {
	sha hash.Hash
	sum [sha256.Size]byte
}

func newHasher() *hasher { return &hasher{sha: sha256.New()} }

var leafPrefix = []byte{0} // RFC 6962 section 2.1: a leaf, not a node

// leaf returns the RFC 6962 leaf hash of a followed by b.
func (h *hasher) leaf(a, b []byte) tlog.Hash {
	h.sha.Reset()
	h.sha.Write(leafPrefix)
	h.sha.Write(a)
	h.sha.Write(b)
	h.sha.Sum(h.sum[:0])
	return h.sum
}

// AppendCanonical appends the RFC 8785 form of e without its signature: the
// bytes that are hashed into the log. e.PrevHash must be 64 lower-case hex
// digits.
func AppendCanonical(dst []byte, e *Event) ([]byte, error) {
	unsigned := *e
	unsigned.Signature = ""
	dst, _, err := appendLine(dst, newHasher(), &unsigned)
	return dst, err
}

// appendLine appends e as it stands in a log, with its own Seq and PrevHash, and
// returns its leaf hash.
func appendLine(dst []byte, h *hasher, e *Event) ([]byte, tlog.Hash, error) {
	prev, err := parseHex(e.PrevHash)
	if err != nil {
		return dst, tlog.Hash{}, err
	}
	var l line
	if err := l.encode(e); err != nil {
		return dst, tlog.Hash{}, err
	}
	dst, leaf := l.appendTo(dst, h, prev, e.Seq)
	return dst, leaf, nil
}
