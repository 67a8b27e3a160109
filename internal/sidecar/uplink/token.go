package uplink

import (
	"context"
	"errors"
	"slices"
	"time"

	"connectrpc.com/connect"

	"firma/internal/action"
	"firma/internal/capability"
	"firma/internal/fault"
	"firma/internal/wire"
	"firma/internal/wire/firmav1"
)

// The pace of renewals. A wait is cut into naps, since timers stand still while
// the machine sleeps and a capability does not.
const (
	minRefreshWait  = time.Second
	minIssueBackoff = time.Second
	maxIssueBackoff = 30 * time.Second
	nap             = 15 * time.Second
)

// holder keeps one capability valid.
type holder struct {
	u       *Uplink
	request *Request
	life    context.Context           // when it ends, the capability is left to expire
	publish func(t *capability.Token) // takes each one that arrived
}

// keepToken holds the capability of Config.Request until the uplink ends, and
// reports how the first attempt went.
func (u *Uplink) keepToken(first func(error)) {
	h := &holder{u: u, request: u.cfg.Request, life: u.life, publish: func(t *capability.Token) {
		u.tokens.Store(capability.NewSet(append(slices.Clone(u.cfg.Seeds), t)...))
	}}
	t, err := h.issue()
	first(err)
	if err == nil { // else Start closes the uplink
		h.keep(t)
	}
}

// Hold asks for another capability than Config.Request, returns once there is one
// and keeps it fresh until ctx or the uplink ends. publish gets each as it comes,
// the first before Hold returns; one call at a time.
func (u *Uplink) Hold(ctx context.Context, r Request, publish func(t *capability.Token)) error {
	if err := r.finalize(); err != nil {
		return err
	}
	life, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(u.life, cancel)
	h := &holder{u: u, request: &r, life: life, publish: publish}
	end := func() { stop(); cancel() }
	t, err := h.issue()
	if err != nil {
		end()
		return err
	}
	go func() {
		defer end()
		h.keep(t)
	}()
	return nil
}

// keep renews t and what comes after it. While one is renewed the old one serves;
// a denied or failed renewal leaves it to its expiry.
func (h *holder) keep(t *capability.Token) {
	for h.sleepUntil(h.request.refreshAt(t.Expiry, h.u.cfg.Now())) {
		if t = h.renew(); t == nil {
			return
		}
	}
}

// renew tries until it has a capability; nil means that its life is over.
func (h *holder) renew() *capability.Token {
	wait := backoff{min: minIssueBackoff, max: maxIssueBackoff}
	for {
		t, err := h.issue()
		if err == nil {
			h.u.cfg.Log.Info("capability renewed", "token_id", t.TokenID, "expiry", t.Expiry)
			return t
		}
		if h.life.Err() != nil {
			return nil
		}
		h.u.cfg.Log.Warn("capability not renewed; the old one serves until it expires", "error", err)
		if !h.u.sleepIn(h.life, wait.next()) {
			return nil
		}
	}
}

// refreshAt returns when a token that ends at expiry is renewed:
// min(remaining*ratio, remaining-grace) from now, a second at least.
func (r *Request) refreshAt(expiry, now time.Time) time.Time {
	now = now.Round(0) // the wall clock decides, as it does about expiry
	remaining := expiry.Sub(now)
	wait := min(time.Duration(float64(remaining)*r.RefreshRatio), remaining-r.RefreshGrace)
	return now.Add(max(wait, minRefreshWait))
}

// sleepUntil returns true at t by the wall clock, false when its life ended.
func (h *holder) sleepUntil(t time.Time) bool {
	for {
		left := t.Sub(h.u.cfg.Now().Round(0))
		if left <= 0 {
			return h.life.Err() == nil
		}
		if !h.u.sleepIn(h.life, min(left, nap)) {
			return false
		}
	}
}

func (u *Uplink) sleep(d time.Duration) bool { return u.sleepIn(u.life, d) }

func (u *Uplink) sleepIn(life context.Context, d time.Duration) bool {
	select {
	case <-u.cfg.After(d):
		return true
	case <-life.Done():
		return false
	}
}

// issue asks for a capability, verifies it and publishes it.
func (h *holder) issue() (*capability.Token, error) {
	u := h.u
	ctx, cancel := context.WithTimeout(h.life, u.cfg.CallTimeout)
	defer cancel()
	s, err := u.link.session(ctx)
	if err != nil {
		return nil, u.explain(err)
	}
	res, err := s.authority.IssueCapability(ctx, connect.NewRequest(h.message()))
	if err != nil {
		return nil, u.explain(err)
	}
	t, err := h.accept(res.Msg)
	if err != nil {
		return nil, err
	}
	h.publish(t)
	return t, nil
}

func (h *holder) message() *firmav1.IssueCapabilityRequest {
	r := h.request
	actions := make([]string, len(r.Actions))
	for i, a := range r.Actions {
		actions[i] = string(a)
	}
	return &firmav1.IssueCapabilityRequest{
		AgentId: r.AgentID, SessionId: r.SessionID, RequestedActions: actions, ResourceScope: r.Scope,
		RequestedTtlSeconds: int32(min(r.TTL/time.Second, 1<<31-1)), Credentials: h.u.credentials(),
	}
}

func (u *Uplink) credentials() *firmav1.SidecarCredentials {
	c := u.cfg.Credentials
	return &firmav1.SidecarCredentials{WorkspaceId: c.WorkspaceID, SidecarId: c.SidecarID, PreSharedKey: string(c.PreSharedKey)}
}

// accept returns the token of a granted response. Only what is inside the
// signature counts; the readable copy around it is not looked at.
func (h *holder) accept(res *firmav1.IssueCapabilityResponse) (*capability.Token, error) {
	if !res.GetGranted() {
		return nil, denied(res)
	}
	if f := res.GetToken().GetFormat(); f != firmav1.TokenFormat_TOKEN_FORMAT_PASETO_V4 {
		return nil, refused(errors.New("the token is not a PASETO v4 token"))
	}
	c := &h.u.cfg
	t, err := capability.Verify(c.PublicKey, string(res.GetToken().GetSignature()), c.Now(), c.Skew)
	if err == nil {
		err = h.request.covers(t)
	}
	if err != nil {
		return nil, refused(err)
	}
	return t, nil
}

// covers refuses a token that is not what was asked for, or less.
func (r *Request) covers(t *capability.Token) error {
	switch {
	case t.AgentID != r.AgentID:
		return errors.New("the token is another agent's")
	case t.SessionID != r.SessionID:
		return errors.New("the token is for another session")
	case t.ResourceScope != r.Scope && r.Scope != "*":
		return errors.New("the token has another scope than was asked for")
	case t.Expiry.Sub(t.IssuedAt) > r.TTL:
		return errors.New("the token lives longer than was asked for")
	}
	for _, a := range t.ActionSet {
		if !slices.Contains(r.Actions, action.Class(a)) {
			return errors.New("the token has an action class that was not asked for")
		}
	}
	return nil
}

func refused(err error) error {
	return fault.Wrap(err, "Capability", "the Authority sent a capability that cannot be used",
		"check that public_key_path belongs to this Authority, and that the clocks agree")
}

// denied maps the contract's deny_reason codes.
func denied(res *firmav1.IssueCapabilityResponse) error {
	name, fix := "CapabilityDenied", "permit it in the Authority's issuance policies, or ask for less"
	switch res.GetDenyReason() {
	case wire.DenyNotRegistered:
		name, fix = "AgentNotRegistered", "register the agent with the Authority"
	case wire.DenyProfileMismatch:
		name, fix = "AgentProfileMismatch", "run the agent with the profile it is registered for"
	}
	return fault.New(name, "the Authority issued no capability: "+quoted(res.GetDenyReason())+": "+quoted(res.GetDenyMessage()), fix)
}
