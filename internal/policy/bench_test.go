package policy

import (
	"fmt"
	"testing"
	"time"

	"firma/internal/action"
	"firma/internal/verdict"
)

func benchRequest() Request {
	return Request{
		AgentID: "agt_01jz", Class: "code.read", ResourceID: "api.github.com/repos/acme/tool",
		Host: "api.github.com", Path: "/repos/acme/tool", Method: "GET",
		Context: Context{
			SessionID: "0192f3d4-0000-7000-8000-000000000000", Timestamp: time.UnixMilli(1700000000123),
			Params: "{}", RawTransport: "https", LastResource: "api.github.com/repos/acme/tool/issues",
			ActionCount: 17, DenyCount: 1, SessionDurationS: 61,
			PriorActionClasses: []string{"code.read", "communication.external.send"},
		},
	}
}

// BenchmarkCompile is the cost on the start path of a run, warm; the schema is
// resolved once per process and is measured by BenchmarkModel.
func BenchmarkCompile(b *testing.B) {
	for _, name := range PostureNames() {
		text, err := Posture(name)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Compile("v", text, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkModel(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		s, err := parseSchema([]byte(schemaText))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := quickModel(s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEvaluate(b *testing.B) {
	dev, _ := Posture("dev")
	conditions := `
permit (principal, action == Firma::Action::"code.read", resource)
when { context.deny_count < 10 && context.prior_action_classes.contains("code.read") && resource has method && resource.method == "GET" };
`
	hosts := ""
	for i := range 1000 {
		hosts += Allow(fmt.Sprintf("host%d.example.com", i))
	}
	cases := []struct {
		name, text string
		class      action.Class
		want       verdict.Outcome
	}{
		{"dev allow", string(dev), "code.read", verdict.Allow},
		{"dev deny", string(dev), "code.destructive", verdict.Deny},
		{"context", string(dev) + conditions, "code.read", verdict.Allow},
		{"1000 other hosts", string(dev) + hosts, "communication.external.send", verdict.Allow},
	}
	for _, c := range cases {
		bundle, err := Compile("v", []byte(c.text), nil)
		if err != nil {
			b.Fatal(err)
		}
		r := benchRequest()
		r.Class = c.class
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got := bundle.Evaluate(r); got.Outcome != c.want {
					b.Fatal(got)
				}
			}
		})
	}
}

func BenchmarkContextHash(b *testing.B) {
	r := benchRequest()
	var bundle *Bundle
	b.ReportAllocs()
	for b.Loop() {
		if bundle.ContextHash(r) == "" {
			b.Fatal("empty")
		}
	}
}
