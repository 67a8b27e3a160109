package localexec

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"

	"firma/internal/audit"
	contract "firma/internal/localexec"
	"firma/internal/localexec/line"
	"firma/internal/verdict"
)

// judged is a decision with what its event needs.
type judged struct {
	request  contract.Request // zero for a line that is no request
	response contract.Response
	repeated bool // the same "not yet" as before
}

// asked reads one request and answers it.
func (s *Server) asked(ctx context.Context, conn *net.UnixConn) []byte {
	peer, err := peerOf(conn)
	if err != nil {
		s.cfg.Log.Warn("command gate: a caller was turned away", "err", err)
		return nil
	}
	in, err := line.Read(conn, contract.MaxRequest)
	if err != nil && !errors.Is(err, line.ErrTooLong) {
		return nil // whoever left or was silent asked nothing
	}
	j := s.judge(in, err)
	if !j.repeated {
		if err := s.record(ctx, &j, peer); err != nil {
			s.cfg.Log.Error("command gate: the decision could not be recorded", "err", err)
			j.response = contract.Response{Decision: contract.Deny, Reason: "the decision could not be recorded"}
		}
	}
	out, err := j.response.Line()
	if err != nil {
		return nil
	}
	return out
}

func (s *Server) judge(in []byte, err error) judged {
	r, perr := contract.ParseRequest(in)
	if err != nil || perr != nil {
		return judged{response: deny("malformed request: " + errors.Join(err, perr).Error())}
	}
	j := judged{request: r}
	if why := s.foreign(&r); why != "" {
		j.response = deny(why)
		return j
	}
	if r.ApprovalToken != "" {
		j.response = s.redeem(&r)
		j.repeated = j.response.Decision == contract.Pending
	} else {
		j.response = s.first(&r)
	}
	j.response.Fingerprint = contract.FingerprintOf(&r)
	return j
}

// foreign says why this server does not decide about r, or "".
func (s *Server) foreign(r *contract.Request) string {
	c := &s.cfg
	switch {
	case r.Action != contract.ActionExec:
		return "the action " + r.Action + " is not decided here"
	case r.Fingerprint != "" && r.Fingerprint != contract.FingerprintOf(r):
		return "the fingerprint is not this command's"
	case c.AnyRun:
		return ""
	case r.SandboxID != c.SandboxID:
		return "this gate serves another sandbox"
	case r.SessionID != c.SessionID:
		return "this gate serves another session"
	case r.AgentID != c.AgentID:
		return "this gate serves another agent"
	}
	return ""
}

// first decides about a command that nobody was asked about.
func (s *Server) first(r *contract.Request) contract.Response {
	switch s.cfg.DefaultAction {
	case contract.Allow:
		return contract.Response{Decision: contract.Allow, Reason: "allowed by default_action"}
	case contract.Pending:
		id, err := s.book.Issue(contract.BindingOf(r), s.cfg.Now(), s.cfg.TokenTTL)
		if err != nil {
			return deny(err.Error())
		}
		return s.notYet(id, "a person has to approve it")
	}
	return deny("denied by default_action")
}

// redeem decides about a command whose approval was asked for before.
func (s *Server) redeem(r *contract.Request) contract.Response {
	decision, reason := s.book.Redeem(r.ApprovalToken, contract.BindingOf(r), s.cfg.Now())
	if decision == contract.Pending {
		return s.notYet(r.ApprovalToken, reason)
	}
	return contract.Response{Decision: decision, Reason: reason}
}

func (s *Server) notYet(id, reason string) contract.Response {
	return contract.Response{Decision: contract.Pending, Reason: reason, ApprovalToken: id, RetryAfterMS: uint32(s.cfg.RetryAfter.Milliseconds())}
}

func deny(reason string) contract.Response {
	return contract.Response{Decision: contract.Deny, Reason: shorten(reason)}
}

// shorten keeps a reason within what the contract carries.
func shorten(s string) string {
	const most = 400
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// record writes the decision's event. Arguments may hold secrets: their number
// and the fingerprint are recorded, the arguments are not.
func (s *Server) record(ctx context.Context, j *judged, peer Peer) error {
	r := &j.request
	e := s.event(r.SandboxID, r.SessionID, r.AgentID)
	e.Action, e.Resource = "system.execute", r.Executable
	info := []string{"gate", "local-exec", "caller_pid", strconv.Itoa(peer.PID), "caller_uid", strconv.Itoa(peer.UID)}
	if r.Executable == "" {
		e.Resource = "(malformed local.exec request)"
	} else {
		info = append(info, "fingerprint", contract.FingerprintOf(r), "arguments", strconv.Itoa(len(r.Args)), "profile", r.Profile, "hitl_mode", string(r.Mode))
	}
	if r.InvokedAs != "" {
		info = append(info, "invoked_as", r.InvokedAs)
	}
	if r.BudgetStateRef != "" {
		info = append(info, "budget_state_ref", r.BudgetStateRef)
	}
	if id := j.response.ApprovalToken + r.ApprovalToken; id != "" {
		info = append(info, "approval", id)
	}
	decide(e, j.response)
	e.Info = audit.Info(info...)
	return s.append(ctx, e)
}

func decide(e *audit.Event, a contract.Response) {
	switch a.Decision {
	case contract.Allow:
		e.Decision = verdict.Allow
		return
	case contract.Pending:
		e.Decision, e.Reason = verdict.StepUp, verdict.StepUpRequired
	default:
		e.Decision, e.Reason = verdict.Deny, verdict.ExecDenied
	}
	e.DenyReason = e.Reason.Words() + ": " + a.Reason
}

// event is for the run that asks; the run that is served, where nobody says.
func (s *Server) event(sandbox, session, agent string) *audit.Event {
	if sandbox == "" {
		sandbox, session, agent = s.cfg.SandboxID, s.cfg.SessionID, s.cfg.AgentID
	}
	return &audit.Event{Kind: audit.KindLaunch, SandboxID: sandbox, SessionID: session, AgentID: agent}
}

// append writes the event whatever becomes of the caller.
func (s *Server) append(ctx context.Context, e *audit.Event) error {
	return s.cfg.Audit.Append(context.WithoutCancel(ctx), e)
}
