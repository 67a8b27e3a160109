package endpoints

import (
	"context"
	"errors"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"firma/internal/authority/witness"
	"firma/internal/wire/witnessv1"
)

// witnessing implements witnessv1connect.WitnessServiceHandler. Its calls have
// passed the guard.
type witnessing struct{ witness *witness.Witness }

// SubmitCheckpoint implements the rpc.
func (w *witnessing) SubmitCheckpoint(_ context.Context, r *connect.Request[witnessv1.SubmitCheckpointRequest]) (*connect.Response[witnessv1.SubmitCheckpointResponse], error) {
	held, err := w.witness.Submit(witness.Checkpoint{
		Origin: r.Msg.GetOrigin(), Size: r.Msg.GetSize(), Root: r.Msg.GetRootHash(), Text: r.Msg.GetCheckpoint(),
	})
	if err != nil {
		return nil, connect.NewError(witnessCode(err), err)
	}
	return connect.NewResponse(&witnessv1.SubmitCheckpointResponse{
		Size: held.Size, RootHash: held.Root, WitnessedAt: timestamppb.New(held.Seen),
	}), nil
}

func witnessCode(err error) connect.Code {
	var malformed *witness.Malformed
	var conflict *witness.Conflict
	switch {
	case errors.As(err, &malformed):
		return connect.CodeInvalidArgument
	case errors.As(err, &conflict):
		return connect.CodeFailedPrecondition
	}
	return connect.CodeUnavailable
}
