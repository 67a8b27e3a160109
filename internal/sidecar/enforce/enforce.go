// Package enforce is the pipeline: one canonical call in, one decision out.
//
//	mapping → Stage 1 capability → Stage 2 policy → audit
//
// Every way into the Sidecar calls Enforce and carries out what it returns. It
// makes no network call, and every error is a DENY.
package enforce

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"firma/internal/action"
	"firma/internal/audit"
	"firma/internal/capability"
	"firma/internal/intent"
	"firma/internal/mapping"
	"firma/internal/policy"
	"firma/internal/sidecar/pace"
	"firma/internal/verdict"
)

// Authority is the state that the Authority streams, read without blocking.
type Authority interface {
	Ready() (bool, verdict.Reason)
	Tokens() *capability.Set
	Revoked(tokenID string) bool
	Bundle() (b *policy.Bundle, freshUntil time.Time)
}

// Recorder is the audit log. Append returns once the event is written, Record before
// that, and while Roomy, without waiting.
type Recorder interface {
	Append(context.Context, *audit.Event) error
	Record(*audit.Event) error
	Roomy() bool
}

// Literals says whether an address the agent wrote itself may be dialled at all.
type Literals interface {
	Forbidden(c *intent.Call) (verdict.Reason, string)
}

// Config wires an Enforcer. All fields but Skew and Now are required.
type Config struct {
	SandboxID, SessionID, AgentID string

	Table            *mapping.Table
	DefaultProtected bool
	NoAllow          bool // --allow is refused here: rules and policies are somebody else's
	Authority        Authority
	Audit            Recorder
	Literals         Literals
	Pace             *pace.Hosts      // nil: no host is bounded
	Skew             time.Duration    // clock_skew_tolerance
	Now              func() time.Time // nil: time.Now
	Log              *slog.Logger
}

// Enforcer decides. It is safe for concurrent use.
type Enforcer struct {
	cfg     Config
	table   atomic.Pointer[mapping.Table]
	session *session
	tally   *Tally
}

// New returns an Enforcer for one session.
func New(cfg Config) *Enforcer {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	e := &Enforcer{cfg: cfg, session: newSession(cfg.Now()), tally: newTally(cfg.NoAllow)}
	e.table.Store(cfg.Table)
	return e
}

// Tally is the running count of decisions, for the exit summary.
func (e *Enforcer) Tally() *Tally { return e.tally }

// Routable reports whether some rule covers host, so that its name may resolve.
func (e *Enforcer) Routable(host string) bool { return e.table.Load().Routable(host) }

// Enforce judges a call and records the decision before it returns.
func (e *Enforcer) Enforce(ctx context.Context, c *intent.Call) verdict.Decision {
	start := e.cfg.Now()
	j := judgement{call: c, at: start, kind: kindOf(c)}
	e.judge(ctx, &j)
	if j.d.Outcome.Dispatches() {
		if wait, ok := e.cfg.Pace.Take(c.HostKey(), j.at); !ok {
			j.deny(verdict.RateLimited, "the operator limits how often "+c.HostKey()+" is asked")
			j.d.RetryAfter, j.d.Passthrough = wait, false
		}
	}
	return e.record(ctx, &j)
}

// judgement is a decision in the making, with what the audit event needs.
type judgement struct {
	call    *intent.Call
	at      time.Time
	kind    string
	d       verdict.Decision
	token   *capability.Token
	version string
	ctxHash string
	info    []string
	parent  string
}

func (j *judgement) deny(r verdict.Reason, detail string) {
	j.d.Outcome, j.d.Reason, j.d.Detail = verdict.Deny, r, detail
}

func (e *Enforcer) judge(ctx context.Context, j *judgement) {
	c := j.call
	j.d.Resource = c.Resource()
	if ctx.Err() != nil {
		j.deny(verdict.EnforcementTimeout, "the call was given up before it was decided")
		return
	}
	if reason, detail := e.cfg.Literals.Forbidden(c); reason != verdict.None {
		j.deny(reason, detail)
		return
	}
	rule, coverage := e.table.Load().Classify(c)
	switch coverage {
	case mapping.Mapped:
	case mapping.Unmapped:
		e.unmapped(j)
		return
	default:
		j.deny(verdict.UnclassifiedIntent, unreadable(c))
		return
	}
	class := classOf(c, rule.ActionClass)
	j.d.ActionClass = string(class)
	j.info = append(j.info, "rule", rule.Source)
	if c.Method == "CONNECT" {
		j.d.Accepts = e.table.Load().TunnelAccepts(c)
	}
	j.info = append(j.info, pushInfo(c)...)
	if ok, reason := e.cfg.Authority.Ready(); !ok {
		j.deny(reason, "the Authority's state has not arrived yet")
		return
	}
	if !e.stage1(j, class) {
		return
	}
	e.stage2(j, class)
}

// What is said of calls that are refused whatever the configuration says of unmapped
// ones. No rule and no --allow helps against the first.
const (
	noMethod = "its method is one that no rule can cover: rules speak of GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS and CONNECT"
	twoWays  = "servers may read its method, path or query in more ways than one, and no rule covers one of them"
)

func unreadable(c *intent.Call) string {
	if c.Method == "CONNECT" || mapping.Mappable(c.Method) && !slices.ContainsFunc(mapping.OtherMethods(c), func(m string) bool { return !mapping.Mappable(m) }) {
		return twoWays
	}
	return noMethod
}

func (e *Enforcer) unmapped(j *judgement) {
	if !e.cfg.DefaultProtected {
		j.d.Outcome, j.d.Passthrough = verdict.Allow, true
		return
	}
	what := j.call.HostKey()
	if j.call.Method != "CONNECT" && len(e.table.Load().Carries(j.call)) > 0 {
		what = "this method and path of " + what // others are covered
	}
	j.deny(verdict.UnclassifiedIntent, "no mapping rule covers "+what)
	if e.cfg.NoAllow {
		j.d.Hint = "whoever runs this Sidecar or its Authority can allow it: " + addRule(j.call.HostKey())
		return
	}
	j.d.Hint = "the operator can allow it for one run with: firma run --allow " + j.call.HostKey()
}

// stage1 finds the capability that grants class on this resource.
func (e *Enforcer) stage1(j *judgement, class action.Class) bool {
	token, cerr := e.cfg.Authority.Tokens().Select(e.cfg.SessionID, class, j.call, j.at, e.cfg.Skew, e.cfg.Authority.Revoked)
	if cerr != nil {
		j.deny(cerr.Reason, cerr.Detail)
		return false
	}
	if token.AgentID != e.cfg.AgentID {
		j.deny(verdict.TenantMismatch, "the capability belongs to another agent")
		return false
	}
	j.token = token
	return true
}

// stage2 asks the policy bundle.
func (e *Enforcer) stage2(j *judgement, class action.Class) {
	bundle, fresh := e.cfg.Authority.Bundle()
	switch {
	case bundle == nil:
		j.deny(verdict.PolicyBundleNotReady, "no policy bundle has arrived")
		return
	case !j.at.Before(fresh):
		j.deny(verdict.PolicyBundleStale, "the policy bundle's time to live is over and the Authority sends no other")
		return
	}
	c := j.call
	req := policy.Request{
		AgentID: e.cfg.AgentID, Class: class, ResourceID: j.d.Resource,
		Host: c.HostKey(), Path: c.Path, Method: c.Method,
		Context: e.session.context(e.cfg.SessionID, c, j.at),
	}
	j.version = bundle.Version()
	j.ctxHash = bundle.ContextHash(req)
	res := evaluate(bundle, req, c)
	j.d.Outcome, j.d.Reason, j.d.Detail = res.Outcome, res.Reason, res.Detail
	j.d.RedactHeaders, j.d.RetryAfter = res.RedactHeaders, res.RetryAfter
	if res.Reason == verdict.CapabilityScopeMismatch {
		j.d.Hint = slowDown
	}
	if len(res.Errors) > 0 { // for the operator only: they may quote the request
		e.cfg.Log.Warn("policies failed to evaluate", "errors", res.Errors)
	}
	for _, p := range res.Policies {
		j.info = append(j.info, "policy:"+p, res.Outcome.String())
	}
	e.session.decided(class, j.d)
}

// slowDown is for a loop that a policy on action_count stopped.
const slowDown = "raise the action_count threshold in the policies, or scope that rule more narrowly; the count starts again with the next session"

// evaluate asks for every reading of the path and of the method: which of them the
// upstream obeys is not ours to know.
func evaluate(b *policy.Bundle, req policy.Request, c *intent.Call) policy.Result {
	res := evaluateMethods(b, req, c)
	for _, path := range mapping.OtherPaths(c) {
		if !res.Outcome.Dispatches() {
			return res
		}
		req.Path, req.ResourceID, req.Context.Git = path, c.HostKey()+path, gitContext(c, path)
		res = both(res, evaluateMethods(b, req, c))
	}
	return res
}

// evaluateMethods asks for the method on the request line and, where a header or
// the query overrides it, for that one too.
func evaluateMethods(b *policy.Bundle, req policy.Request, c *intent.Call) policy.Result {
	res := evaluateRefs(b, req, c)
	for _, method := range mapping.OtherMethods(c) {
		if !res.Outcome.Dispatches() {
			return res
		}
		req.Method = method
		res = both(res, evaluateRefs(b, req, c))
	}
	return res
}

// both joins the answers to two readings of one call, of which the first
// dispatches: what they demand adds up.
func both(a, b policy.Result) policy.Result {
	switch {
	case !b.Outcome.Dispatches() || a.Outcome == verdict.Allow:
		return b
	case b.Outcome == verdict.Modify:
		a.RedactHeaders = append(slices.Clip(a.RedactHeaders), b.RedactHeaders...)
		a.Policies = append(slices.Clip(a.Policies), b.Policies...)
	}
	return a
}

func kindOf(c *intent.Call) string {
	if c.Method == "CONNECT" {
		return audit.KindTunnel
	}
	return audit.KindRequest
}
