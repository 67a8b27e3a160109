package policy

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/google/go-cmp/cmp"

	"firma/internal/action"
	"firma/internal/verdict"
)

func doc(t *testing.T) (string, map[string][]string) {
	t.Helper()
	b, err := os.ReadFile("../../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string][]string{}
	for _, m := range regexp.MustCompile("(?ms)^```([^\n]+)\n(.*?)^```$").FindAllStringSubmatch(string(b), -1) {
		blocks[m[1]] = append(blocks[m[1]], m[2])
	}
	return string(b), blocks
}

func TestDocExamplesCompile(t *testing.T) {
	_, blocks := doc(t)
	if len(blocks["cedar"]) < 3 || len(blocks["cedar refused"]) < 6 {
		t.Fatalf("%d examples and %d refused ones were read", len(blocks["cedar"]), len(blocks["cedar refused"]))
	}
	for _, text := range blocks["cedar"] {
		mustCompile(t, text)
	}
	for _, text := range blocks["cedar refused"] {
		if _, err := Compile("v", []byte(text), nil); err == nil {
			t.Errorf("compiles:\n%s", text)
		}
	}
	if got := blocks["cedar allow"]; len(got) != 1 || got[0] != Allow("api.example.com") {
		t.Errorf("--allow is\n%s", Allow("api.example.com"))
	}
	if got := blocks["cedar issuance"]; len(got) != 1 || !strings.HasSuffix(issuance, got[0]) {
		t.Errorf("issuance is\n%s", issuance)
	}
}

// The examples do what the sentences beside them say.
func TestDocExamplesDecide(t *testing.T) {
	_, blocks := doc(t)
	code, limits, remedies := mustCompile(t, blocks["cedar"][0]), mustCompile(t, blocks["cedar"][1], permitAll), mustCompile(t, blocks["cedar"][2])
	git := func(owner, ref string) func(*Request) {
		return func(r *Request) {
			r.Class, r.Context.Git = "code.write", &Git{Provider: "github", Owner: owner, Repo: "tool", Ref: ref}
		}
	}
	send := func(host string, denied int64) func(*Request) {
		return func(r *Request) {
			r.Class, r.Host, r.ResourceID, r.Context.DenyCount = "communication.external.send", host, host+"/", denied
		}
	}
	tests := []struct {
		name   string
		bundle *Bundle
		change func(*Request)
		want   verdict.Outcome
	}{
		{"read", code, func(*Request) {}, verdict.Allow},
		{"read elsewhere", code, func(r *Request) { r.Host = "gitlab.com" }, verdict.Deny},
		{"write in acme", code, git("acme", "refs/heads/topic"), verdict.Allow},
		{"write main", code, git("acme", "refs/heads/main"), verdict.Deny},
		{"write elsewhere", code, git("other", "refs/heads/topic"), verdict.Deny},
		{"send", limits, send("h", 0), verdict.Allow},
		{"send after a secret", limits, func(r *Request) {
			send("h", 0)(r)
			r.Context.PriorActionClasses = []string{"credential.read"}
		}, verdict.Deny},
		{"5000 calls", limits, func(r *Request) { r.Context.ActionCount = 5000 }, verdict.Allow},
		{"5001 calls", limits, func(r *Request) { r.Context.ActionCount = 5001 }, verdict.Deny},
		{"without the header", remedies, send("h", 0), verdict.Modify},
		{"slow down", remedies, send("h", 101), verdict.Defer},
		{"payroll", remedies, send("payroll.example.com", 101), verdict.StepUp},
		{"a remedy permits nothing", remedies, func(*Request) {}, verdict.Deny},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := request()
			tt.change(&r)
			if got := tt.bundle.Evaluate(r); got.Outcome != tt.want {
				t.Errorf("got %+v, want %s", got, tt.want)
			}
		})
	}
}

func TestDocContextTable(t *testing.T) {
	page, _ := doc(t)
	got := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\| (String|Long|Set of String)(, optional)? \\|").FindAllStringSubmatch(page, -1) {
		got[m[1]] = m[2] + m[3]
	}
	want := map[string]string{}
	for _, f := range contextFields {
		kind := "Long"
		if f.set != nil {
			kind = "Set of String"
		}
		if f.text != nil {
			kind = "String"
			if _, always := f.text(&Context{}); !always {
				kind += ", optional"
			}
		}
		want[f.name] = kind
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-bound +page)\n%s", diff)
	}
}

func TestDocPostureTable(t *testing.T) {
	page, _ := doc(t)
	got := map[action.Class]string{}
	row := regexp.MustCompile("(?m)^\\| ((?:`[a-z_.]+` ?)+)\\| (allow|deny|forbid) \\| (allow|deny|forbid) \\| (allow|deny|forbid) \\|$")
	for _, m := range row.FindAllStringSubmatch(page, -1) {
		for _, class := range strings.Fields(strings.ReplaceAll(m[1], "`", "")) {
			got[action.Class(class)] = m[2][:1] + m[3][:1] + m[4][:1]
		}
	}
	if diff := cmp.Diff(effects, got); diff != "" {
		t.Errorf("(-tested +page)\n%s", diff)
	}
}

func TestDocNamesTheRules(t *testing.T) {
	page, _ := doc(t)
	for _, h := range framing {
		if !strings.Contains(page, "`"+h+"`") {
			t.Errorf("header %s is not on the page", h)
		}
	}
	for _, name := range []types.AnnotationKey{"step_up", "defer", "modify", "id"} {
		if !strings.Contains(page, "@"+string(name)) {
			t.Errorf("@%s is not on the page", name)
		}
	}
}
