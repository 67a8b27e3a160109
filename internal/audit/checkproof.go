package audit

import (
	"crypto"

	"golang.org/x/mod/sumdb/tlog"

	"firma/internal/fault"
)

// CheckProof verifies that p.Event is event p.Seq of the log that p.Checkpoint
// signed with key. All other facts about the event are to be read from p.Event.
func CheckProof(p Proof, key crypto.PublicKey) error {
	ring, err := newKeyring(key, nil)
	if err != nil {
		return err
	}
	if err := ring.check(&p.Checkpoint); err != nil {
		return badProof("of its checkpoint, " + err.Error())
	}
	e, err := newReader().read([]byte(p.Event))
	if err != nil || !e.canonical || e.Signature != "" || e.Seq != p.Seq || hexHash(e.leaf) != p.LeafHash || p.Schema != ProofSchema {
		return badProof("its event does not fit its own fields")
	}
	path := make(tlog.RecordProof, len(p.Path))
	for i, s := range p.Path {
		if path[i], err = parseHex(s); err != nil {
			return badProof(err.Error())
		}
	}
	if e.Seq >= p.Checkpoint.Size {
		return badProof("its event is not covered by its checkpoint")
	}
	if err := tlog.CheckRecord(path, int64(p.Checkpoint.Size), p.Checkpoint.Root, int64(e.Seq), e.leaf); err != nil {
		return badProof("the path does not lead to the signed root")
	}
	return nil
}

func badProof(why string) error {
	return fault.New("AuditProofInvalid", "the proof proves nothing: "+why, "ask for the proof again, or for the log")
}
