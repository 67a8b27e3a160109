// Package issue decides what a capability may hold and has it signed. It is the
// only mechanism that uses the keys package.
package issue

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"firma/internal/action"
	"firma/internal/authority/keys"
	"firma/internal/capability"
	"firma/internal/ids"
	"firma/internal/policy"
	"firma/internal/verdict"
	"firma/internal/wire"
)

// DefaultTTL is the life of a capability when the request names none.
const DefaultTTL = 900 * time.Second

// The limits of a request. A longer one is malformed.
const (
	maxIDBytes    = 256
	maxScopeBytes = 2048
	maxActions    = 256
)

// Request is what a Sidecar, or the operator, asks for. TTL 0 means DefaultTTL.
type Request struct {
	AgentID, SessionID, Scope string
	Actions                   []string
	TTL                       time.Duration
}

// Denied is a well-formed request that policy refuses. Code is one of the
// contract's deny_reason codes, Message one sentence for a person.
type Denied struct{ Code, Message string }

func (d *Denied) Error() string { return d.Code + ": " + d.Message }

// Malformed is a request that no policy could grant.
type Malformed struct{ Why string }

func (m *Malformed) Error() string { return "malformed request: " + m.Why }

// Issuer grants requested ∩ permitted. Without a policy it denies everything.
// It is safe for concurrent use.
type Issuer struct {
	key    *keys.Signer
	maxTTL time.Duration
	now    func() time.Time
	policy atomic.Pointer[policy.Bundle]
}

// New returns an issuer that clamps every life to maxTTL.
func New(key *keys.Signer, maxTTL time.Duration, now func() time.Time) *Issuer {
	return &Issuer{key: key, maxTTL: maxTTL, now: now}
}

// SetPolicy replaces the issuance policies. Tokens already signed stay valid.
func (i *Issuer) SetPolicy(b *policy.Bundle) { i.policy.Store(b) }

// Issue returns a signed token for the part of r that policy permits. The error
// is *Malformed, *Denied, or a failure to sign. The token's claims are in whole
// seconds, as they are inside the signature.
func (i *Issuer) Issue(r Request) (*capability.Token, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if err := capability.ValidScope(r.Scope); err != nil {
		return nil, &Denied{wire.DenyScope, "the scope cannot be granted: " + err.Error()}
	}
	granted, hash := i.permitted(r)
	if len(granted) == 0 {
		return nil, &Denied{wire.DenyPolicy, "the issuance policies permit none of the requested action classes"}
	}
	return i.sign(r, granted, hash)
}

func (r *Request) check() error {
	switch {
	case !plain(r.AgentID, maxIDBytes):
		return &Malformed{fmt.Sprintf("agent_id must be 1 to %d printable characters", maxIDBytes)}
	case !plain(r.SessionID, maxIDBytes):
		return &Malformed{fmt.Sprintf("session_id must be 1 to %d printable characters", maxIDBytes)}
	case !plain(r.Scope, maxScopeBytes):
		return &Malformed{fmt.Sprintf("resource_scope must be 1 to %d printable characters", maxScopeBytes)}
	case len(r.Actions) == 0 || len(r.Actions) > maxActions:
		return &Malformed{fmt.Sprintf("requested_actions must name 1 to %d action classes", maxActions)}
	case r.TTL < 0:
		return &Malformed{"requested_ttl_seconds is negative"}
	}
	for _, a := range r.Actions {
		if !action.Known(action.Class(a)) {
			return &Malformed{fmt.Sprintf("%.64q is not an action class of this Authority", a)}
		}
	}
	return nil
}

// plain reports whether s is printable ASCII without spaces, 1 to limit bytes.
func plain(s string, limit int) bool {
	return s != "" && len(s) <= limit &&
		strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// permitted asks the issuance policies about each class with the scope as the
// resource. Only a plain ALLOW grants: an obligation (step-up, defer, modify)
// cannot be met here.
func (i *Issuer) permitted(r Request) (granted []string, contextHash string) {
	b := i.policy.Load()
	if b == nil {
		return nil, ""
	}
	q := question(r, i.now())
	for _, a := range r.Actions {
		q.Class = action.Class(a)
		if b.Evaluate(q).Outcome == verdict.Allow {
			granted = append(granted, a)
		}
	}
	slices.Sort(granted)
	return slices.Compact(granted), b.ContextHash(q)
}

// question is the Cedar request of an issuance: principal the agent, resource
// the scope with its host and path, transport "issuance".
func question(r Request, now time.Time) policy.Request {
	host, rest, found := strings.Cut(r.Scope, "/")
	path := ""
	if found {
		path = "/" + rest
	}
	return policy.Request{
		AgentID: r.AgentID, ResourceID: r.Scope, Host: host, Path: path,
		Context: policy.Context{
			SessionID: r.SessionID, Timestamp: now, Params: "{}", RawTransport: "issuance", ActionCount: 1,
		},
	}
}

func (i *Issuer) sign(r Request, granted []string, contextHash string) (*capability.Token, error) {
	issued := i.now().UTC().Truncate(time.Second)
	c := capability.Claims{
		TokenID: ids.New(ids.Token), AgentID: r.AgentID, SessionID: r.SessionID,
		ActionSet: granted, ResourceScope: r.Scope, ContextHash: contextHash,
		IssuedAt: issued, Expiry: issued.Add(i.life(r.TTL)),
	}
	raw, err := i.key.Token(c)
	if err != nil {
		return nil, err
	}
	return &capability.Token{Claims: c, Raw: raw}, nil
}

// life is the requested life, at least a second and at most the maximum.
func (i *Issuer) life(asked time.Duration) time.Duration {
	if asked == 0 {
		asked = DefaultTTL
	}
	return max(min(asked, i.maxTTL).Truncate(time.Second), time.Second)
}
