package policy

import (
	"time"

	"github.com/cedar-policy/cedar-go/types"

	"firma/internal/action"
	"firma/internal/verdict"
)

// Request is one question to a bundle. AgentID, Class and ResourceID must be
// set; an empty Host, Path or Method is not bound.
type Request struct {
	AgentID    string
	Class      action.Class
	ResourceID string // host + path; the id of the Firma::Resource
	Host       string // host, with ":port" unless it is 80 or 443
	Path       string
	Method     string
	Context    Context
}

// Result is the answer. The zero value denies; callers treat it as FailClosed.
type Result struct {
	Outcome verdict.Outcome // Allow, Deny, Modify, StepUp or Defer
	// Reason is None for Allow and Modify, CapabilityScopeMismatch for a Deny that
	// only the session's action_count caused, else PolicyDenied.
	Reason verdict.Reason
	Detail string // one sentence; names policies, never values of the request

	// Policies are the ids of the policies that decided, sorted: the permits of
	// an Allow, the forbids of anything else, none when nothing matched.
	Policies []string
	// RedactHeaders are the headers to remove, lower case and sorted, for Modify.
	RedactHeaders []string
	RetryAfter    time.Duration // for Defer

	// Errors are the policies whose evaluation failed, as "id: message", sorted.
	// They are for the operator: a message may quote values of the request.
	Errors []string
}

func denied(detail string, policies ...string) Result {
	return Result{Outcome: verdict.Deny, Reason: verdict.PolicyDenied, Detail: detail, Policies: policies}
}

// resourceFields are the attributes of a Firma::Resource. Only id is always
// bound.
var resourceFields = [...]struct {
	name string
	get  func(*Request) string
}{
	{"id", func(r *Request) string { return r.ResourceID }},
	{"host", func(r *Request) string { return r.Host }},
	{"path", func(r *Request) string { return r.Path }},
	{"method", func(r *Request) string { return r.Method }},
}

func resourceBit(name string) uint8 {
	for i := range resourceFields {
		if resourceFields[i].name == name {
			return 1 << i
		}
	}
	return 0
}

// attributes returns the attributes of the resource that need selects. scratch
// is an empty map that it fills; the result does not share it.
func (r *Request) attributes(need uint8, scratch types.RecordMap) types.Record {
	for i := range resourceFields {
		if need&(1<<i) == 0 {
			continue
		}
		if s := resourceFields[i].get(r); s != "" {
			scratch[types.String(resourceFields[i].name)] = types.String(s)
		}
	}
	if len(scratch) == 0 {
		return types.Record{}
	}
	return types.NewRecord(scratch)
}
