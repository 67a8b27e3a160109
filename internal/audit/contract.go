package audit

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"unicode/utf8"
)

// contractDigest returns what a per-event signature signs: the SHA-256 of the
// contract's fields in its order, as text, joined by line feeds. The digest is a
// message to the signature algorithm, so ECDSA hashes it once more. Text is
// taken as it is stored.
func contractDigest(e *Event) [sha256.Size]byte {
	b := make([]byte, 0, 1024)
	text := func(s string) {
		for _, r := range s { // a bad byte ranges as U+FFFD, as in the stored line
			b = utf8.AppendRune(b, r)
		}
		b = append(b, '\n')
	}
	number := func(n int64) { b = append(strconv.AppendInt(b, n, 10), '\n') }
	text(e.EventID)
	text(e.SessionID)
	text(e.TokenID)
	text(e.AgentID)
	text(e.Action)
	text(e.Resource)
	number(int64(e.Decision))
	text(e.DenyReason)
	number(clamp(e.EnforcementLatencyUS))
	text(e.ContextHash)
	text(e.BundleVersion)
	number(quantised(e.Timestamp))
	number(clamp(int64(e.DispatchStatus)))
	number(clamp(e.DispatchLatencyUS))
	number(clamp(e.ResponseSize))
	text(e.SandboxID)
	text(e.Provenance)
	text(e.ThreadID)
	text(e.ParentActionID)
	return sha256.Sum256(b[:len(b)-1])
}

// sign sets e.Signature, the contract's way.
func (e *Event) sign(k *Key) error {
	digest := contractDigest(e)
	sig, err := k.sign(digest[:])
	e.Signature = base64.StdEncoding.EncodeToString(sig)
	return err
}

// signed reports whether e.Signature is a signature of e by k.
func (e *Event) signed(k *publicKey) bool {
	digest := contractDigest(e)
	sig, err := base64.StdEncoding.DecodeString(e.Signature)
	// One spelling only: decoding skips line feeds and ignores spare bits.
	return err == nil && base64.StdEncoding.EncodeToString(sig) == e.Signature && k.verify(digest[:], sig)
}
