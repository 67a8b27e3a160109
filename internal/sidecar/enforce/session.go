package enforce

import (
	"slices"
	"sync"
	"time"

	"firma/internal/action"
	"firma/internal/intent"
	"firma/internal/policy"
	"firma/internal/verdict"
)

// session holds the counters that policies can ask about.
type session struct {
	start time.Time

	mu      sync.Mutex // held for a few instructions, never over I/O
	actions int64
	denies  int64
	last    string
	prior   []string // sorted; replaced, never changed, so readers may keep it
}

func newSession(start time.Time) *session { return &session{start: start} }

// context counts this action (1 for the first) and returns what Cedar sees. What
// firma does not measure yet (risk score, transfer counters) stays zero.
func (s *session) context(id string, c *intent.Call, now time.Time) policy.Context {
	ctx := s.peek(id, c, now)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.actions++
	ctx.ActionCount, ctx.DenyCount, ctx.PriorActionClasses, ctx.LastResource = s.actions, s.denies, s.prior, s.last
	return ctx
}

// peek is the context of a call that was counted before: its counters are those
// of a first action, since a threshold stops new actions and not open ones.
func (s *session) peek(id string, c *intent.Call, now time.Time) policy.Context {
	return policy.Context{
		SessionID: id, Timestamp: now, Params: "{}", RawTransport: c.Transport,
		SessionDurationS: int64(now.Sub(s.start) / time.Second),
		ActionCount:      1,
		Git:              gitContext(c, c.Path),
	}
}

func (s *session) decided(class action.Class, d verdict.Decision) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !d.Outcome.Dispatches() {
		s.denies++
	}
	s.last = d.Resource
	if i, found := slices.BinarySearch(s.prior, string(class)); !found {
		s.prior = slices.Insert(slices.Clone(s.prior), i, string(class))
	}
}
