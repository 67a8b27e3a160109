package endpoints

import (
	"context"
	"errors"
	"strconv"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"firma/internal/authority/bundle"
	"firma/internal/authority/issue"
	"firma/internal/authority/revocation"
	"firma/internal/capability"
	"firma/internal/wire"
	"firma/internal/wire/firmav1"
)

// authority implements firmav1connect.AuthorityServiceHandler. Its calls have
// passed the guard.
type authority struct{ cfg Config }

// IssueCapability implements the rpc. A request that policy refuses is answered,
// not failed: granted is false and deny_reason says why.
func (a *authority) IssueCapability(_ context.Context, r *connect.Request[firmav1.IssueCapabilityRequest]) (*connect.Response[firmav1.IssueCapabilityResponse], error) {
	t, err := a.cfg.Issuer.Issue(issue.Request{
		AgentID: r.Msg.GetAgentId(), SessionID: r.Msg.GetSessionId(), Scope: r.Msg.GetResourceScope(),
		Actions: r.Msg.GetRequestedActions(), TTL: time.Duration(r.Msg.GetRequestedTtlSeconds()) * time.Second,
	})
	var malformed *issue.Malformed
	var denied *issue.Denied
	switch {
	case errors.As(err, &malformed):
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	case errors.As(err, &denied):
		a.cfg.Log.Warn("capability denied", "agent_id", r.Msg.GetAgentId(), "session_id", r.Msg.GetSessionId(), "reason", denied.Code)
		return connect.NewResponse(&firmav1.IssueCapabilityResponse{DenyReason: denied.Code, DenyMessage: denied.Message}), nil
	case err != nil:
		a.cfg.Log.Error("capability not signed", "error", err)
		return nil, connect.NewError(connect.CodeInternal, errors.New("the token could not be signed"))
	}
	a.cfg.Log.Info("capability issued", "token_id", t.TokenID, "agent_id", t.AgentID, "session_id", t.SessionID,
		"actions", len(t.ActionSet), "scope", t.ResourceScope, "expiry", t.Expiry)
	return connect.NewResponse(&firmav1.IssueCapabilityResponse{Granted: true, Token: token(t)}), nil
}

func token(t *capability.Token) *firmav1.CapabilityToken {
	return &firmav1.CapabilityToken{
		TokenId: t.TokenID, AgentId: t.AgentID, SessionId: t.SessionID,
		ActionSet: t.ActionSet, ResourceScope: t.ResourceScope, ContextHash: t.ContextHash,
		IssuedAt: timestamppb.New(t.IssuedAt), Expiry: timestamppb.New(t.Expiry),
		Signature: []byte(t.Raw), Format: firmav1.TokenFormat_TOKEN_FORMAT_PASETO_V4,
	}
}

// WatchPolicyBundle implements the rpc: the current bundle at once, every change,
// and the bundle again after a third of its life, so that one lost refresh does
// not make it stale.
func (a *authority) WatchPolicyBundle(ctx context.Context, _ *connect.Request[firmav1.WatchPolicyBundleRequest], out *connect.ServerStream[firmav1.PolicyBundleUpdate]) error {
	for {
		b, changed := a.cfg.Bundles.Current()
		if err := out.Send(update(b)); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-a.cfg.After(b.TTL / 3):
		case <-ctx.Done():
			return ended(ctx)
		}
	}
}

func update(b *bundle.Bundle) *firmav1.PolicyBundleUpdate {
	return &firmav1.PolicyBundleUpdate{
		Bundle: &firmav1.PolicyBundle{
			Version: b.Version, Policies: b.Policies, EntitySchema: b.Schema, TtlSeconds: uint32(b.TTL / time.Second),
		},
		UpdatedAt: timestamppb.New(b.Loaded),
	}
}

// WatchRevocations implements the rpc. The response headers are sent at once and
// say how many events the replay has (wire.HeaderReplay).
func (a *authority) WatchRevocations(ctx context.Context, r *connect.Request[firmav1.WatchRevocationsRequest], out *connect.ServerStream[firmav1.RevocationEvent]) error {
	events, changed := a.cfg.Revocations.From(0)
	next := len(events)
	if s := r.Msg.GetSince(); s != nil {
		events = since(events, s.AsTime())
	}
	out.ResponseHeader().Set(wire.HeaderReplay, strconv.Itoa(len(events)))
	if err := out.Send(nil); err != nil { // headers only
		return err
	}
	for {
		for _, e := range events {
			if err := out.Send(event(e)); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ended(ctx)
		}
		events, changed = a.cfg.Revocations.From(next)
		next += len(events)
	}
}

// since returns the events seen at t or later. They are in the order of Seen.
func since(events []revocation.Event, t time.Time) []revocation.Event {
	for i, e := range events {
		if !e.Seen.Before(t) {
			return events[i:]
		}
	}
	return nil
}

func event(e revocation.Event) *firmav1.RevocationEvent {
	return &firmav1.RevocationEvent{TokenId: e.TokenID, Reason: e.Reason, Timestamp: timestamppb.New(e.Seen)}
}

// ended is what a stream returns when its caller left or the Authority stops.
func ended(ctx context.Context) error {
	return connect.NewError(connect.CodeUnavailable, context.Cause(ctx))
}
