package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"

	"firma/internal/verdict"
)

// Evaluate decides r. A forbid wins over permits, nothing matching denies, and a
// forbid that can't be evaluated denies too; an annotated forbid that fires
// alone turns what a permit allows into its remedy. It is safe for concurrent
// use and never panics; every doubt denies. The result shares its slices with other
// results: they are not to be changed.
func (b *Bundle) Evaluate(r Request) (res Result) {
	defer func() {
		if recover() != nil {
			res = Result{Outcome: verdict.Deny, Reason: verdict.FailClosed, Detail: "the policy engine failed"}
		}
	}()
	if b == nil || b.model == nil {
		return Result{Outcome: verdict.Deny, Reason: verdict.PolicyBundleNotReady, Detail: "no policy bundle is loaded"}
	}
	t := b.classes[r.Class]
	switch {
	case t == nil:
		return denied("the policy schema has no action " + strconv.Quote(string(r.Class)))
	case r.AgentID == "" || r.ResourceID == "":
		return denied("the request names no agent or no resource")
	}
	return b.byCount(&r, t, b.remembered(&r, t))
}

func (b *Bundle) decide(r *Request, t *target) Result {
	w := newWork(b, r, t)
	defer w.release()
	_, diag := w.authorize()
	fired := w.sort(diag)
	switch {
	case len(fired.failed) > 0:
		return fired.result(denied("policy "+list(fired.failed)+" could not be evaluated", append(fired.failed, fired.plain...)...))
	case len(fired.plain) > 0:
		return fired.result(denied("forbidden by policy "+list(fired.plain), fired.plain...))
	case len(fired.remedies) > 0:
		return fired.result(w.convert(fired.remedies))
	case len(fired.permits) > 0:
		return fired.result(Result{Outcome: verdict.Allow, Policies: fired.permits})
	}
	return fired.result(denied("no policy permits " + string(r.Class) + " on this resource"))
}

// firing is what the policies of one evaluation said.
type firing struct {
	permits  []string
	plain    []string // forbids without a remedy
	remedies []*rule
	failed   []string // forbids whose evaluation failed
	errors   []string
}

func (w *work) sort(diag cedar.Diagnostic) firing {
	var f firing
	for _, e := range diag.Errors {
		f.errors = append(f.errors, string(e.PolicyID)+": "+e.Message)
		// The engine skips a policy that fails. For a permit that is the safe
		// side; a skipped forbid would allow.
		if r := w.bundle.rules[e.PolicyID]; r == nil || !r.permit {
			f.failed = append(f.failed, string(e.PolicyID))
		}
	}
	for _, reason := range diag.Reasons {
		r := w.bundle.rules[reason.PolicyID]
		switch {
		case r != nil && r.permit:
			f.permits = append(f.permits, string(r.id))
		case r != nil && r.remedy.kind != plain:
			f.remedies = append(f.remedies, r)
		default:
			f.plain = append(f.plain, string(reason.PolicyID))
		}
	}
	return f
}

// result sorts what is shown, since the engine has no fixed order.
func (f *firing) result(res Result) Result {
	slices.Sort(res.Policies)
	slices.Sort(f.errors)
	res.Errors = f.errors
	return res
}

// convert turns the annotated forbids that fired into the strongest remedy,
// provided a permit matches as well: a remedy eases a refusal, it permits
// nothing by itself.
func (w *work) convert(fired []*rule) Result {
	w.permitsOnly()
	if decision, _ := w.authorize(); decision != cedar.Allow {
		return denied("no policy permits "+string(w.request.Class)+" on this resource, and a policy forbids it", ids(fired)...)
	}
	kind := plain
	for _, r := range fired {
		kind = max(kind, r.remedy.kind)
	}
	fired = slices.DeleteFunc(fired, func(r *rule) bool { return r.remedy.kind != kind })
	slices.SortFunc(fired, func(a, b *rule) int { return strings.Compare(string(a.id), string(b.id)) })
	return remedied(kind, fired)
}

// remedied merges remedies of one kind: every challenge, the longest delay,
// every header.
func remedied(kind remedyKind, rules []*rule) Result {
	res := Result{Policies: ids(rules)}
	var texts []string
	for _, r := range rules {
		texts = append(texts, r.remedy.text)
		res.RetryAfter = max(res.RetryAfter, r.remedy.delay)
		res.RedactHeaders = append(res.RedactHeaders, r.remedy.header)
	}
	switch kind {
	case stepUp:
		return Result{Outcome: verdict.StepUp, Reason: verdict.StepUpRequired, Policies: res.Policies,
			Detail: strings.Join(slices.Compact(texts), "; ")}
	case deferred:
		return Result{Outcome: verdict.Defer, Reason: verdict.Deferred, Policies: res.Policies, RetryAfter: res.RetryAfter,
			Detail: fmt.Sprintf("retry_after_ms: %d", res.RetryAfter/time.Millisecond)}
	}
	slices.Sort(res.RedactHeaders)
	headers := slices.Compact(res.RedactHeaders)
	return Result{Outcome: verdict.Modify, Policies: res.Policies, RedactHeaders: headers,
		Detail: "redacted_header:" + strings.Join(headers, ",redacted_header:")}
}

func ids(rules []*rule) []string {
	out := make([]string, len(rules))
	for i, r := range rules {
		out[i] = string(r.id)
	}
	return out
}

// list names policies for a sentence: "a", "b".
func list(ids []string) string {
	slices.Sort(ids)
	quoted := make([]string, len(ids))
	for i, id := range ids {
		quoted[i] = strconv.Quote(id)
	}
	return strings.Join(quoted, ", ")
}
