package policy

import (
	"errors"
	"testing"

	"firma/internal/fault"
	"firma/internal/verdict"
)

// FuzzCompile: no text ends the process, every refusal is the typed one, and
// what compiles decides every request.
func FuzzCompile(f *testing.F) {
	for _, name := range PostureNames() {
		f.Add(postureText(f, name), false)
	}
	f.Add(Allow("example.com:8443"), false)
	f.Add("@step_up(\"x\") forbid (principal, action in [Firma::Action::\"code.read\"], resource) unless { context has git_ref };", false)
	f.Add("permit (principal, action, resource) when { context.action_count + 9223372036854775807 > 0 };", false)
	f.Add("permit (principal == Firma::Agent::\"a\", action, resource is Firma::Resource in Firma::Resource::\"r\");", false)
	f.Add(groupedSchema, true)
	f.Fuzz(func(t *testing.T, text string, schema bool) {
		var b *Bundle
		var err error
		if schema {
			b, err = Compile("v", []byte(permitAll), []byte(text))
		} else {
			b, err = Compile("v", []byte(text), nil)
		}
		if err != nil {
			var e *Error
			if b != nil || fault.NameOf(err) != "PolicyInvalid" || !errors.As(err, &e) || len(e.Problems) == 0 {
				t.Fatalf("Compile = %v, %v", b, err)
			}
			return
		}
		for _, r := range []Request{{}, request(), fullRequest()} {
			got := b.Evaluate(r)
			if got.Reason == verdict.FailClosed {
				t.Fatalf("evaluation panicked: %+v", got)
			}
			if got.Outcome.Dispatches() != (got.Reason == verdict.None) || got.Outcome == verdict.Unspecified {
				t.Fatalf("%+v", got)
			}
		}
	})
}
