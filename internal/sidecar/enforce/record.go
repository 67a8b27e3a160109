package enforce

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"firma/internal/audit"
	"firma/internal/intent"
	"firma/internal/sidecar/proxy"
	"firma/internal/verdict"
)

// record writes the decision's event, and turns the decision into a DENY when
// that fails: what can't be recorded does not happen.
func (e *Enforcer) record(ctx context.Context, j *judgement) verdict.Decision {
	if j.d.Outcome == verdict.Unspecified {
		j.deny(verdict.FailClosed, "no stage decided")
	}
	ev := e.event(j)
	// The event is written whatever becomes of the client.
	if err := e.cfg.Audit.Append(context.WithoutCancel(ctx), ev); err != nil {
		e.cfg.Log.Error("audit event could not be written", "err", err)
		j.deny(verdict.AuditUnavailable, "the decision could not be recorded")
	}
	j.d.EventID = ev.EventID
	if j.kind != audit.KindStream || !j.d.Outcome.Dispatches() { // its calls count
		e.tally.add(destination(j), j.d)
	}
	return j.d
}

func (e *Enforcer) event(j *judgement) *audit.Event {
	ev := e.blank(j.kind)
	ev.Action, ev.Resource = j.d.ActionClass, j.d.Resource
	ev.Decision, ev.Reason = j.d.Outcome, j.d.Reason
	ev.DenyReason = reasonText(j.d.Reason, j.d.Detail)
	if j.d.Passthrough {
		ev.Outcome = verdict.Passthrough
	}
	ev.EnforcementLatencyUS = e.cfg.Now().Sub(j.at).Microseconds()
	ev.BundleVersion, ev.ContextHash = j.version, j.ctxHash
	ev.ParentActionID = j.parent
	if j.token != nil {
		ev.TokenID = j.token.TokenID
	}
	if j.call != nil {
		if j.call.RawQuery != "" {
			ev.Resource = j.call.AuditResource() // secrets masked
		}
		j.info = append(j.info, "method", j.call.Method, "transport", j.call.Transport)
		if p := j.call.Port; p == 80 && j.call.Transport != intent.HTTP || p == 443 && j.call.Transport == intent.HTTP {
			j.info = append(j.info, "port", strconv.Itoa(int(p))) // which the resource does not show
		}
	}
	if len(j.info) > 0 {
		ev.Info = audit.Info(j.info...)
	}
	ev.Resource = bounded(ev.Resource)
	return ev
}

// maxResource bounds what one event records of a target, in bytes: an agent could
// otherwise fill the disk of the log with long paths.
const maxResource = 2 << 10

// bounded cuts a long text and adds the hash of the whole.
func bounded(s string) string {
	if len(s) <= maxResource {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return s[:maxResource] + "…sha256:" + hex.EncodeToString(sum[:])
}

func (e *Enforcer) blank(kind string) *audit.Event {
	return &audit.Event{Kind: kind, SessionID: e.cfg.SessionID, AgentID: e.cfg.AgentID, SandboxID: e.cfg.SandboxID}
}

func reasonText(r verdict.Reason, detail string) string {
	switch {
	case r == verdict.None:
		return ""
	case detail == "":
		return r.Words()
	}
	return r.Words() + ": " + detail
}

func destination(j *judgement) string {
	if j.call != nil {
		return j.call.HostKey()
	}
	return j.d.Resource
}

// Malformed records and refuses bytes that never became a call.
func (e *Enforcer) Malformed(ctx context.Context, transport, detail string) verdict.Decision {
	j := judgement{at: e.cfg.Now(), kind: audit.KindRequest, info: []string{"transport", transport}}
	j.d.Resource = "(malformed " + transport + " request)"
	j.deny(verdict.MalformedRequest, detail)
	return e.record(ctx, &j)
}

// Refuse records and returns a DENY that only showed after the ALLOW prior, such
// as the address class of a resolved name, or one that needed no judgement: prior
// names at most the resource then, and c is nil where there is no call yet.
func (e *Enforcer) Refuse(ctx context.Context, c *intent.Call, prior verdict.Decision, r verdict.Reason, detail string) verdict.Decision {
	j := judgement{call: c, at: e.cfg.Now(), kind: audit.KindEgress, parent: prior.EventID}
	j.d = verdict.Decision{ActionClass: prior.ActionClass, Resource: prior.Resource}
	if j.d.Resource == "" && c != nil {
		j.d.Resource = c.Resource()
	}
	j.deny(r, detail)
	if prior.Outcome.Dispatches() {
		e.tally.undo(destination(&j), prior)
	} else {
		j.kind = audit.KindRequest
	}
	return e.record(ctx, &j)
}

// Dispatched records how an allowed call ended.
func (e *Enforcer) Dispatched(d verdict.Decision, r proxy.Dispatch) {
	ev := e.blank(audit.KindDispatch)
	ev.Action, ev.Resource, ev.ParentActionID = d.ActionClass, bounded(d.Resource), d.EventID
	ev.Decision = verdict.Allow
	ev.DispatchStatus, ev.DispatchLatencyUS, ev.ResponseSize = r.Status, r.Latency.Microseconds(), r.ResponseBytes
	if r.Abort != verdict.None {
		ev.Decision, ev.Reason = verdict.Abort, r.Abort
		ev.DenyReason = reasonText(r.Abort, r.Detail)
		e.tally.aborted(d.Resource, r)
	}
	ev.Info = audit.Info("request_bytes", strconv.FormatInt(r.RequestBytes, 10))
	if err := e.cfg.Audit.Record(ev); err != nil {
		e.cfg.Log.Error("audit event could not be written", "err", err)
	}
}

// Roomy implements proxy.Enforcer.
func (e *Enforcer) Roomy() bool { return e.cfg.Audit.Roomy() }

// NameRefused records a DNS question that got NXDOMAIN.
func (e *Enforcer) NameRefused(ctx context.Context, name, qtype string) {
	j := judgement{at: e.cfg.Now(), kind: audit.KindDNS, info: []string{"type", qtype}}
	j.d.ActionClass, j.d.Resource = "network.dns", "dns:"+name
	j.deny(verdict.NameNotRoutable, "no mapping rule covers "+name)
	e.record(ctx, &j)
}

var _ proxy.Enforcer = (*Enforcer)(nil)
