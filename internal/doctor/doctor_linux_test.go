package doctor

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"firma/internal/fault"
)

func TestParseFault(t *testing.T) {
	for _, c := range []struct{ stderr, name, text, fix string }{
		{"firma: error: SandboxSetupFailed: bwrap: x: y\nfirma: fix: do\n\n    this\n", "SandboxSetupFailed", "bwrap: x: y", "do\n\n    this"},
		{"firma: note: a\nfirma: error: ConfigParse: a:1:1: b\nc:2:2: d\nfirma: fix: correct it\nfirma: note: z\n", "ConfigParse", "a:1:1: b\nc:2:2: d", "correct it"},
		{"firma: error: Interrupted: the run\n", "Interrupted", "the run", ""},
		{"panic: x\n", "", "", ""},
		{"", "", "", ""},
	} {
		name, text, fix := parseFault(c.stderr)
		if name != c.name || text != c.text || fix != c.fix {
			t.Errorf("%q: %q, %q, %q", c.stderr, name, text, fix)
		}
	}
}

func TestTestedVersions(t *testing.T) {
	for v, want := range map[string]bool{"0.8.0": true, "0.11.0": true, "1.0": true, "0.8": true, "0.7.9": false, "0.4.1": false, "unknown": false, "": false, "0.x": false} {
		if tested(v) != want {
			t.Errorf("%q: %v", v, !want)
		}
	}
}

// TestWorst: a warning is not a failure, and after a failed step the next ones are
// not tried.
func TestWorst(t *testing.T) {
	x := &exam{report: Report{Worst: OK}}
	x.step("a", func() finding { return good("fine") })
	if x.report.Worst != OK || x.report.ExitCode != 0 {
		t.Errorf("%+v", x.report)
	}
	x.step("b", func() finding { return finding{status: Warn, reason: "odd"} })
	if x.report.Worst != Warn || x.report.ExitCode != 0 || x.blocked != "" {
		t.Errorf("%+v", x.report)
	}
	x.step("c", func() finding { return bad(fault.New("SandboxSetupFailed", "no", "yes")) })
	x.step("d", func() finding { t.Error("tried after a failure"); return finding{} })
	x.add("e", "other", bad(errors.New("no name")))
	if x.report.Worst != Fail || x.report.ExitCode != 1 {
		t.Errorf("%+v", x.report)
	}
	var text []string
	for _, c := range x.report.Checks {
		text = append(text, string(c.Status)+" "+c.Reason)
	}
	want := "ok fine\nwarn odd\nfail SandboxSetupFailed: no\nwarn not tried, since c failed\nfail StartupFailed: the run could not be started: no name"
	if got := strings.Join(text, "\n"); got != want {
		t.Errorf("%s", got)
	}
	var out strings.Builder
	x.report.Print(&out)
	if !strings.Contains(out.String(), "FAIL  c                    SandboxSetupFailed: no\n      fix: yes\n") || !strings.HasSuffix(out.String(), "firma run does not work here: 2 of 5 checks failed\n") {
		t.Error(out.String())
	}
	b, err := json.Marshal(x.report)
	if err != nil || !strings.Contains(string(b), `{"code":"a","category":"sandbox bwrap","status":"ok","reason":"fine"}`) ||
		!strings.HasSuffix(string(b), `"worst":"fail","exit_code":1}`) {
		t.Errorf("%s, %v", b, err)
	}
}
