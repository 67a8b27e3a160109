package localexec

import (
	"context"
	"net"
	"strconv"

	"firma/internal/audit"
	contract "firma/internal/localexec"
	"firma/internal/localexec/line"
	"firma/internal/verdict"
)

// managed reads one change of a token and answers it. A caller that may not
// approve is recorded and gets no answer at all.
func (s *Server) managed(ctx context.Context, conn *net.UnixConn) []byte {
	peer, err := peerOf(conn)
	if err == nil {
		err = peer.outside()
	}
	if err != nil {
		s.turnedAway(ctx, peer, err)
		return nil
	}
	in, err := line.Read(conn, contract.MaxResponse)
	if err != nil {
		return nil
	}
	m, err := contract.ParseManage(in)
	if err != nil {
		return reply(contract.Managed{Outcome: contract.UnsupportedAction, Reason: err.Error()})
	}
	return reply(s.change(ctx, m, peer))
}

func (s *Server) change(ctx context.Context, m contract.Manage, peer Peer) contract.Managed {
	change, done, word := s.book.Revoke, verdict.Deny, "revoked"
	switch m.Action {
	case contract.ActionApprove:
		change, done, word = s.book.Approve, verdict.Allow, "approved for one execution"
	case contract.ActionRevoke:
	default:
		return contract.Managed{Outcome: contract.UnsupportedAction, Reason: "only " + contract.ActionApprove + " and " + contract.ActionRevoke + " are done here"}
	}
	result, what := change(m.TokenID, s.cfg.Now())
	if result != contract.OK {
		return contract.Managed{Outcome: result}
	}
	if err := s.recordChange(ctx, m, what, peer, done); err != nil {
		s.cfg.Log.Error("command gate: an approval could not be recorded", "err", err)
		s.book.Revoke(m.TokenID, s.cfg.Now())
		return contract.Managed{Outcome: contract.AlreadyRevoked, Reason: "the change could not be recorded, so the approval was revoked"}
	}
	return contract.Managed{Outcome: contract.OK, Reason: shorten(what.Executable + " is " + word)}
}

func (s *Server) recordChange(ctx context.Context, m contract.Manage, what contract.Binding, peer Peer, done verdict.Outcome) error {
	e := s.event(what.SandboxID, what.SessionID, what.AgentID)
	e.Action, e.Resource, e.Decision = "system.execute", what.Executable, done
	if done == verdict.Deny {
		e.Reason = verdict.ExecDenied
		e.DenyReason = e.Reason.Words() + ": the approval was revoked"
	}
	e.Info = audit.Info("gate", "local-exec", "change", m.Action, "approval", m.TokenID, "fingerprint", what.Fingerprint,
		"caller_pid", strconv.Itoa(peer.PID), "caller_uid", strconv.Itoa(peer.UID))
	return s.append(ctx, e)
}

// turnedAway records somebody who tried to approve and may not.
func (s *Server) turnedAway(ctx context.Context, peer Peer, why error) {
	s.cfg.Log.Warn("command gate: a caller was turned away", "err", why)
	e := s.event("", "", "")
	e.Action, e.Resource, e.Decision, e.Reason = "system.execute", "(approval refused)", verdict.Deny, verdict.ExecDenied
	e.DenyReason = e.Reason.Words() + ": " + why.Error()
	e.Info = audit.Info("gate", "local-exec", "caller_pid", strconv.Itoa(peer.PID), "caller_uid", strconv.Itoa(peer.UID))
	if err := s.append(ctx, e); err != nil {
		s.cfg.Log.Error("command gate: an attempt to approve could not be recorded", "err", err)
	}
}

func reply(m contract.Managed) []byte {
	out, err := m.Line()
	if err != nil {
		return nil
	}
	return out
}
