package policy

import (
	"time"

	"github.com/cedar-policy/cedar-go/types"
)

// Context is what a policy sees as context, by the names of docs/policies.md.
// The caller owns it and must not change it during a call.
type Context struct {
	SessionID string
	Timestamp time.Time // bound in milliseconds since the epoch

	Params       string // JSON text of the call's parameters
	RawTransport string
	LastResource string // resource of the session's previous call, or ""

	RiskScore        int64
	SessionDurationS int64 // seconds
	ActionCount      int64 // calls of the session that passed Stage 1, this one included
	DenyCount        int64

	// What nothing in firma counts yet: 0 on every live call, for policies and
	// fixtures of the contract.
	TransferAmount, DailyCumulativeAmount int64
	TransfersLast10m, SamePayeeCount30m   int64
	SessionTransferCount                  int64

	PriorActionClasses []string // a set: order and repetition don't matter
	Git                *Git     // nil when the call is not a Git operation
}

// Git is the repository side of a call. Empty fields are not bound.
type Git struct {
	Provider, Owner, Repo   string
	Ref, RefType, Operation string
}

// field is one attribute of the context. Exactly one getter is set.
type field struct {
	name string
	text func(*Context) (string, bool) // false: not bound
	long func(*Context) int64
	set  func(*Context) []string
}

// contextFields is every attribute in the order of its name, which is the order
// of the canonical JSON.
var contextFields = [...]field{
	{name: "action_count", long: func(c *Context) int64 { return c.ActionCount }},
	{name: "daily_cumulative_amount", long: func(c *Context) int64 { return c.DailyCumulativeAmount }},
	{name: "deny_count", long: func(c *Context) int64 { return c.DenyCount }},
	{name: "git_operation", text: func(c *Context) (string, bool) { return c.git(func(g *Git) string { return g.Operation }) }},
	{name: "git_owner", text: func(c *Context) (string, bool) { return c.git(func(g *Git) string { return g.Owner }) }},
	{name: "git_provider", text: func(c *Context) (string, bool) { return c.git(func(g *Git) string { return g.Provider }) }},
	{name: "git_ref", text: func(c *Context) (string, bool) { return c.git(func(g *Git) string { return g.Ref }) }},
	{name: "git_ref_type", text: func(c *Context) (string, bool) { return c.git(func(g *Git) string { return g.RefType }) }},
	{name: "git_repo", text: func(c *Context) (string, bool) { return c.git(func(g *Git) string { return g.Repo }) }},
	{name: "last_resource", text: func(c *Context) (string, bool) { return c.LastResource, true }},
	{name: "params", text: func(c *Context) (string, bool) { return c.Params, true }},
	{name: "prior_action_classes", set: func(c *Context) []string { return c.PriorActionClasses }},
	{name: "raw_transport", text: func(c *Context) (string, bool) { return c.RawTransport, true }},
	{name: "risk_score", long: func(c *Context) int64 { return c.RiskScore }},
	{name: "same_payee_count_30m", long: func(c *Context) int64 { return c.SamePayeeCount30m }},
	{name: "session_duration_s", long: func(c *Context) int64 { return c.SessionDurationS }},
	{name: "session_id", text: func(c *Context) (string, bool) { return c.SessionID, true }},
	{name: "session_transfer_count", long: func(c *Context) int64 { return c.SessionTransferCount }},
	{name: "timestamp_ms", long: func(c *Context) int64 { return c.Timestamp.UnixMilli() }},
	{name: "transfer_amount", long: func(c *Context) int64 { return c.TransferAmount }},
	{name: "transfers_last_10m", long: func(c *Context) int64 { return c.TransfersLast10m }},
}

func (c *Context) git(get func(*Git) string) (string, bool) {
	if c.Git == nil {
		return "", false
	}
	s := get(c.Git)
	return s, s != ""
}

func contextBit(name string) uint32 {
	for i := range contextFields {
		if contextFields[i].name == name {
			return 1 << i
		}
	}
	return 0 // never bound, whatever the policy says about it
}

// record returns the attributes that need selects. scratch is an empty map that
// record fills; the result does not share it.
func (c *Context) record(need uint32, scratch types.RecordMap) types.Record {
	if need == 0 {
		return types.Record{}
	}
	for i := range contextFields {
		if need&(1<<i) != 0 {
			contextFields[i].bind(c, scratch)
		}
	}
	return types.NewRecord(scratch)
}

func (f *field) bind(c *Context, into types.RecordMap) {
	switch {
	case f.text != nil:
		if s, ok := f.text(c); ok {
			into[types.String(f.name)] = types.String(s)
		}
	case f.set != nil:
		into[types.String(f.name)] = stringSet(f.set(c))
	default:
		into[types.String(f.name)] = types.Long(f.long(c))
	}
}

func stringSet(items []string) types.Set {
	values := make([]types.Value, len(items))
	for i, s := range items {
		values[i] = types.String(s)
	}
	return types.NewSet(values...)
}
