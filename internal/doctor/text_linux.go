package doctor

import (
	"fmt"
	"io"
	"strings"
)

var words = map[Status]string{OK: "PASS", Warn: "WARN", Fail: "FAIL"}

// Print writes the report for a person: one line for each check, the fix below
// those that have one. A fix that was printed before is not repeated.
func (r *Report) Print(w io.Writer) {
	printed := map[string]bool{}
	failed := 0
	for _, c := range r.Checks {
		if c.Status == Fail {
			failed++
		}
		fmt.Fprintf(w, "%s  %-20s %s\n", words[c.Status], c.Code, indent(c.Reason))
		if c.Fix != "" && !printed[c.Fix] {
			printed[c.Fix] = true
			fmt.Fprintf(w, "      fix: %s\n", indent(c.Fix))
		}
	}
	if failed > 0 {
		fmt.Fprintf(w, "\nfirma run does not work here: %d of %d checks failed\n", failed, len(r.Checks))
		return
	}
	fmt.Fprintln(w, "\nfirma run works here")
}

// indent keeps the lines of a text below its first.
func indent(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n      ") }
