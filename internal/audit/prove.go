package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"

	"firma/internal/fault"
)

// ProofSchema names the form of a Proof.
const ProofSchema = "firma.audit.proof.v1"

// Proof shows that an event is in the log a checkpoint signed, without the rest
// of the log.
type Proof struct {
	Schema     string     `json:"schema"`
	Seq        uint64     `json:"seq"`
	Event      string     `json:"event"`     // canonical bytes, without the event's own signature
	LeafHash   string     `json:"leaf_hash"` // hex RFC 6962 leaf hash of Event
	Path       []string   `json:"path"`      // hex RFC 6962 audit path, from the leaf up
	Checkpoint Checkpoint `json:"checkpoint"`
}

// Prove returns the proof that an event, named by its identifier or its seq in
// decimal, is covered by the newest checkpoint beside the log. It trusts the
// files; CheckProof does not. Memory: 64 bytes for each event of the log.
func Prove(path, event string) (Proof, error) {
	c, err := newestCheckpoint(path + CheckpointsSuffix)
	if err != nil {
		return Proof{}, err
	}
	log, err := openSnapshot(path)
	if err != nil {
		return Proof{}, unreadable(err, path)
	}
	defer log.Close()
	p := prover{proof: Proof{Schema: ProofSchema, Checkpoint: c}, wanted: event}
	if err := p.read(log); err != nil {
		return Proof{}, err
	}
	return p.finish()
}

// newestCheckpoint returns the last line of the checkpoint file.
func newestCheckpoint(path string) (c Checkpoint, err error) {
	f, err := openSnapshot(path)
	if err != nil {
		return c, unreadable(err, path)
	}
	defer f.Close()
	var last []byte
	for lines := newLines(f); ; {
		raw, _, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return c, unreadable(err, path)
		}
		last = append(last[:0], raw...)
	}
	if err := json.Unmarshal(last, &c); err != nil {
		return c, unprovable("its newest checkpoint cannot be read")
	}
	return c, nil
}

func unprovable(why string) error {
	return fault.New("AuditUnprovable", "there is no proof for this event: "+why, "run `firma audit verify` on the log")
}

// prover collects the hashes of a log.
type prover struct {
	proof  Proof
	wanted string
	found  bool
	hashes []tlog.Hash // in tlog's storage order
}

func (p *prover) read(log io.Reader) error {
	r, lines := newReader(), newLines(log)
	for n := uint64(0); n < p.proof.Checkpoint.Size; n++ {
		raw, _, err := lines.next()
		if err != nil {
			return unprovable(fmt.Sprintf("line %d of the log cannot be read: %v", n+1, err))
		}
		e, err := r.read(raw)
		if err != nil || e.Seq != n {
			return unprovable(fmt.Sprintf("line %d of the log is not event %d", n+1, n))
		}
		if err := p.take(&e); err != nil {
			return err
		}
	}
	return nil
}

func (p *prover) take(e *stored) error {
	if !p.found && (e.EventID == p.wanted || strconv.FormatUint(e.Seq, 10) == p.wanted) {
		canonical, err := AppendCanonical(nil, &e.Event)
		if err != nil {
			return err
		}
		p.found, p.proof.Seq, p.proof.Event, p.proof.LeafHash = true, e.Seq, string(canonical), hexHash(e.leaf)
	}
	more, err := tlog.StoredHashesForRecordHash(int64(e.Seq), e.leaf, tlog.HashReaderFunc(p.lookup))
	p.hashes = append(p.hashes, more...)
	return err
}

func (p *prover) lookup(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		out[i] = p.hashes[at]
	}
	return out, nil
}

func (p *prover) finish() (Proof, error) {
	c := &p.proof.Checkpoint
	if !p.found {
		return Proof{}, unprovable("it is not among the " + strconv.FormatUint(c.Size, 10) + " events that are signed")
	}
	path, err := tlog.ProveRecord(int64(c.Size), int64(p.proof.Seq), tlog.HashReaderFunc(p.lookup))
	if err != nil {
		return Proof{}, err
	}
	leaf, _ := parseHex(p.proof.LeafHash) // written above
	if err := tlog.CheckRecord(path, int64(c.Size), c.Root, int64(p.proof.Seq), leaf); err != nil {
		return Proof{}, unprovable("the events are not those that were signed")
	}
	p.proof.Path = make([]string, len(path))
	for i, h := range path {
		p.proof.Path[i] = hexHash(h)
	}
	return p.proof, nil
}
