package seccomp

import (
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func document(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../../docs/seccomp.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func names(calls []Call) string {
	var out []string
	for _, c := range calls {
		out = append(out, "`"+c.Name+"`")
	}
	return strings.Join(out, " ")
}

// TestDocumentedBase: docs/seccomp.md lists what is refused, all of it and nothing
// else. Its last row is x86_64's.
func TestDocumentedBase(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the tables are x86_64's")
	}
	var want [][]string
	for _, r := range Base() {
		want = append(want, []string{names(r.Calls), unix.ErrnoName(r.Errno), r.Why})
	}
	var got [][]string
	for _, m := range regexp.MustCompile(`(?m)^\| (.+) \| (E[A-Z]+) \| (.+) \|$`).FindAllStringSubmatch(document(t), -1) {
		got = append(got, m[1:])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("code and document (-code +document):\n%s", diff)
	}
}

func TestDocumentedConditionsAndActions(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the tables are x86_64's")
	}
	text := document(t)
	for _, c := range Conditions() {
		if row := "| `" + c.Name + "` | " + c.Refused + " |"; !strings.Contains(text, row) {
			t.Errorf("missing: %s", row)
		}
	}
	for _, name := range Actions {
		calls, err := Action(name)
		if row := "| `" + name + "` | " + names(calls); err != nil || !strings.Contains(text, row) {
			t.Errorf("missing: %s (%v)", row, err)
		}
	}
}
