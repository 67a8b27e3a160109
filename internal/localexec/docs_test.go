package localexec_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"firma/internal/localexec"
)

// TestDocumentedLines: every line that the contract's page shows is one that this
// code reads, and the fingerprint in it is the one that the recipe makes.
func TestDocumentedLines(t *testing.T) {
	page, err := os.ReadFile("../../docs/architecture/command-governance-local-exec-contract.md")
	if err != nil {
		t.Fatal(err)
	}
	parsers := map[string]func([]byte) error{
		`{"action":"local.exec",`: func(b []byte) error {
			r, err := localexec.ParseRequest(b)
			if want := localexec.FingerprintOf(&r); r.Fingerprint != want {
				t.Errorf("the page's fingerprint is %s, not %s", r.Fingerprint, want)
			}
			return err
		},
		`{"action":"local.exec.`: func(b []byte) error { _, err := localexec.ParseManage(b); return err },
		`{"decision":`:           func(b []byte) error { _, err := localexec.ParseResponse(b); return err },
		`{"outcome":`:            func(b []byte) error { _, err := localexec.ParseManaged(b); return err },
	}
	seen := map[string]bool{}
	for _, block := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(page, -1) {
		for line := range strings.Lines(string(block[1])) {
			line = strings.TrimSuffix(line, "\n")
			for start, parse := range parsers {
				if strings.HasPrefix(line, start) {
					seen[start] = true
					if err := parse([]byte(line)); err != nil {
						t.Errorf("%s: %v", line, err)
					}
				}
			}
		}
	}
	if len(seen) != len(parsers) {
		t.Errorf("the page shows only %v", seen)
	}
	for _, word := range []localexec.Result{localexec.OK, localexec.NotFound, localexec.AlreadyConsumed, localexec.AlreadyRevoked, localexec.TokenExpired, localexec.UnsupportedAction} {
		if !strings.Contains(string(page), "`"+string(word)+"`") {
			t.Errorf("the page lacks the outcome %s", word)
		}
	}
}
