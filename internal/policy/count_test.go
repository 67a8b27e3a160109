package policy

import (
	"strings"
	"testing"

	"firma/internal/verdict"
)

// A tight loop is refused in the guide's word, whichever way the limit is
// written; a refusal that has another cause keeps its own.
func TestTightLoop(t *testing.T) {
	const permit = `@id("p") permit (principal, action, resource);`
	tests := map[string]struct {
		text  string
		count int64
		want  verdict.Reason
	}{
		"forbid beyond":           {permit + `@id("f") forbid (principal, action, resource) when { context.action_count > 3 };`, 4, verdict.CapabilityScopeMismatch},
		"forbid within":           {permit + `@id("f") forbid (principal, action, resource) when { context.action_count > 3 };`, 3, verdict.None},
		"permit beyond":           {`@id("p") permit (principal, action, resource) when { context.action_count <= 3 };`, 4, verdict.CapabilityScopeMismatch},
		"permit within":           {`@id("p") permit (principal, action, resource) when { context.action_count <= 3 };`, 3, verdict.None},
		"forbidden anyway":        {permit + `@id("f") forbid (principal, action, resource) when { context.action_count > 3 }; @id("g") forbid (principal, action, resource);`, 4, verdict.PolicyDenied},
		"permitted by nobody":     {`@id("f") forbid (principal, action, resource) when { context.action_count > 3 };`, 4, verdict.PolicyDenied},
		"no policy reads it":      {`@id("f") forbid (principal, action, resource);`, 4, verdict.PolicyDenied},
		"denied as first call":    {permit + `@id("f") forbid (principal, action, resource) when { context.action_count >= 1 };`, 1, verdict.PolicyDenied},
		"another count":           {permit + `@id("f") forbid (principal, action, resource) when { context.deny_count > 3 };`, 4, verdict.PolicyDenied},
		"a step-up is no refusal": {permit + `@id("f") @step_up("ask") forbid (principal, action, resource) when { context.action_count > 3 };`, 4, verdict.StepUpRequired},
	}
	for name, tt := range tests {
		b := mustCompile(t, tt.text)
		r := Request{AgentID: "a", Class: "code.read", ResourceID: "h/", Context: Context{ActionCount: tt.count, DenyCount: 9}}
		got := b.Evaluate(r)
		if got.Reason != tt.want || (got.Outcome == verdict.Allow) != (tt.want == verdict.None) {
			t.Errorf("%s: %v %s, want %s", name, got.Outcome, got.Reason, tt.want)
		}
		if limited := strings.Contains(got.Detail, "action_count"); limited != (tt.want == verdict.CapabilityScopeMismatch) {
			t.Errorf("%s: detail %q", name, got.Detail)
		}
	}
}
