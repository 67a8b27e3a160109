package capability

import (
	"cmp"
	"slices"
	"time"

	"firma/internal/action"
	"firma/internal/intent"
	"firma/internal/verdict"
)

// Set is an immutable snapshot of verified tokens, ordered so that Select takes
// the first that fits. The zero value and nil hold no token. It is safe for
// concurrent use.
type Set struct {
	sessions map[string]map[action.Class][]entry
	size     int
}

type entry struct {
	token *Token
	scope Scope
}

// NewSet returns the set of the given tokens; nil ones are left out. A token
// whose scope does not parse is kept and covers nothing.
func NewSet(tokens ...*Token) *Set {
	s := &Set{sessions: map[string]map[action.Class][]entry{}}
	for _, t := range tokens {
		if t != nil {
			s.add(t)
		}
	}
	for _, classes := range s.sessions {
		for _, entries := range classes {
			slices.SortFunc(entries, better)
		}
	}
	return s
}

func (s *Set) add(t *Token) {
	classes := s.sessions[t.SessionID]
	if classes == nil {
		classes = map[action.Class][]entry{}
		s.sessions[t.SessionID] = classes
	}
	scope, _ := ParseScope(t.ResourceScope)
	for _, a := range t.ActionSet {
		class := action.Class(a)
		classes[class] = append(classes[class], entry{t, scope})
	}
	s.size++
}

// better orders the entries of one class, the preferred one first. Within a
// class the contract's score differs by scope only (a matching scope +50, "*"
// +1), so that comes first; then its tie-breaks: fewer actions, narrower scope,
// newest. The token id makes the order total.
func better(a, b entry) int {
	return cmp.Or(
		cmp.Compare(scopeScore(b.scope), scopeScore(a.scope)),
		cmp.Compare(len(a.token.ActionSet), len(b.token.ActionSet)),
		cmp.Compare(b.scope.kind, a.scope.kind),
		cmp.Compare(len(b.scope.prefix), len(a.scope.prefix)),
		b.token.IssuedAt.Compare(a.token.IssuedAt),
		cmp.Compare(a.token.TokenID, b.token.TokenID),
	)
}

func scopeScore(s Scope) int {
	if s.kind == scopeAll {
		return 1
	}
	return 50
}

// Len returns the number of tokens.
func (s *Set) Len() int {
	if s == nil {
		return 0
	}
	return s.size
}

// Select returns the token of the session that permits class on c: one that
// names the class before one that says "*", and within each in the order of
// better. A usable token always wins. When there is none the reason is the first
// of these that applies to a token: CapabilityRevoked and CapabilityExpired
// (class and resource fit), CapabilityScopeMismatch (the class fits), else
// CapabilityNotFound. A token both revoked and expired counts as revoked, since
// renewing it will not help.
//
// revoked is asked with token ids and must not block; nil means that nobody
// knows, so every token counts as revoked. Select does not allocate on success.
func (s *Set) Select(sessionID string, class action.Class, c *intent.Call, now time.Time, skew time.Duration, revoked func(tokenID string) bool) (*Token, *Error) {
	var classes map[action.Class][]entry
	if s != nil && class != "" && class != AnyClass {
		classes = s.sessions[sessionID]
	}
	why := notFound
	for _, entries := range [2][]entry{classes[class], classes[AnyClass]} {
		for i := range entries {
			e := &entries[i]
			state := e.state(c, now, skew, revoked)
			if state == usable {
				return e.token, nil
			}
			why = max(why, state)
		}
	}
	return nil, why.refusal(class)
}

// fit says how near a token came to permitting a call. A later value is the
// more telling refusal.
type fit uint8

const (
	notFound fit = iota
	outOfScope
	expiredFit
	revokedFit
	usable
)

func (e *entry) state(c *intent.Call, now time.Time, skew time.Duration, revoked func(string) bool) fit {
	switch {
	case !e.scope.Covers(c):
		return outOfScope
	case revoked == nil || revoked(e.token.TokenID):
		return revokedFit
	case expired(e.token.Expiry, now, skew):
		return expiredFit
	}
	return usable
}

func (f fit) refusal(class action.Class) *Error {
	name := string(class)
	switch f {
	case revokedFit:
		return &Error{verdict.CapabilityRevoked, "the capability for " + name + " was revoked"}
	case expiredFit:
		return &Error{verdict.CapabilityExpired, "the capability for " + name + " has expired"}
	case outOfScope:
		return &Error{verdict.CapabilityScopeMismatch, "no capability for " + name + " covers this resource"}
	}
	return &Error{verdict.CapabilityNotFound, "this session has no capability for " + name}
}

// Holds reports whether the set has a token of the session, usable or not.
func (s *Set) Holds(sessionID string) bool {
	return s != nil && len(s.sessions[sessionID]) > 0
}
