package uplink

import (
	"context"

	"connectrpc.com/connect"

	"firma/internal/fault"
	"firma/internal/wire/witnessv1"
)

// Checkpoint is the head of an audit log: its name, number of events, RFC 6962
// root (32 bytes) and signed text.
type Checkpoint struct {
	Origin string
	Size   uint64
	Root   []byte
	Text   string
}

// Witness tells the Authority about a checkpoint. The fault AuditLogRewritten
// means that the Authority remembers a longer log, or another one of this size;
// any other error that it was not recorded. It is never needed for a decision.
func (u *Uplink) Witness(ctx context.Context, c Checkpoint) error {
	ctx, cancel := context.WithTimeout(ctx, u.cfg.CallTimeout)
	defer cancel()
	defer context.AfterFunc(u.life, cancel)()
	s, err := u.link.session(ctx)
	if err != nil {
		return u.explain(err)
	}
	_, err = s.witness.SubmitCheckpoint(ctx, connect.NewRequest(&witnessv1.SubmitCheckpointRequest{
		Origin: c.Origin, Size: c.Size, RootHash: c.Root, Checkpoint: c.Text, Credentials: u.credentials(),
	}))
	if connect.CodeOf(err) == connect.CodeFailedPrecondition {
		return fault.Wrap(err, "AuditLogRewritten", "the Authority has seen another state of this audit log: "+c.Origin,
			"keep the log and its state directory as they are and run `firma audit verify`")
	}
	return u.explain(err)
}
