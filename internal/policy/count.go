package policy

import "firma/internal/verdict"

// countBit is action_count's in needs.context.
var countBit = contextBit("action_count")

// byCount gives a refusal its own word when nothing but the number of the
// session's calls is the cause: the same request would go out as the first call
// of its session. The word is the guide's for a tight loop.
func (b *Bundle) byCount(r *Request, t *target, res Result) Result {
	if res.Reason != verdict.PolicyDenied || r.Context.ActionCount <= 1 || !b.reads(t, r, countBit) {
		return res
	}
	first := *r
	first.Context.ActionCount = 1
	if !b.decide(&first, t).Outcome.Dispatches() {
		return res
	}
	res.Reason = verdict.CapabilityScopeMismatch
	res.Detail += ": the policies limit the action_count of a session, and this call is beyond it"
	return res
}

// reads reports whether a policy that can match r looks at an attribute of the
// context.
func (b *Bundle) reads(t *target, r *Request, bit uint32) bool {
	w := newWork(b, r, t)
	defer w.release()
	return w.needs.context&bit != 0
}
