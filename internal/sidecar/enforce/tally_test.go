package enforce

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"firma/internal/verdict"
)

// A flood of refusals hides no destination that was reached, and the summary of
// the longest names still fits a control message with a default socket buffer.
func TestTallyUnderAFlood(t *testing.T) {
	tally := newTally(false)
	junk := strings.Repeat(`\001\002`, 120)
	for i := range 5000 {
		name := fmt.Sprint(i, junk)
		tally.add("dns:"+name, verdict.Decision{Outcome: verdict.Deny, Reason: verdict.NameNotRoutable, Detail: "no mapping rule covers " + name})
	}
	allow := verdict.Decision{Outcome: verdict.Allow}
	tally.add("reached.test", allow)
	counts, more := tally.Counts()
	if len(counts) != maxLines+1 || more != 5000-maxLines {
		t.Errorf("%d lines and %d more", len(counts), more)
	}
	if counts[0].Destination != "reached.test" {
		t.Errorf("first is %+v", counts[0])
	}
	if b, _ := json.Marshal(counts); len(b) > 100<<10 {
		t.Errorf("%d bytes", len(b))
	}
	tally.undo("reached.test", allow)
	if counts, _ := tally.Counts(); len(counts) != maxLines {
		t.Error("not taken back")
	}
}

// The command that would allow a name is safe to paste into a shell.
func TestFixIsNoShellCode(t *testing.T) {
	for name, want := range map[string]string{
		"example.com":        "firma run --allow example.com",
		"EXAMPLE.com":        "firma run --allow example.com",
		"_dmarc.example.com": "firma run --allow _dmarc.example.com",
		"x;reboot.com":       "",
		"$(reboot).com":      "",
		"a`id`.test":         "",
		`\027[31mred.test`:   "",
		"--config=.x":        "",
		"-x":                 "",
		"*.com":              "",
		"":                   "",
		"good.example/*":     "",
	} {
		d := verdict.Decision{Outcome: verdict.Deny, Reason: verdict.NameNotRoutable}
		if got := newTally(false).fix("dns:"+name, d); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

// Where --allow would be refused, it is not advised.
func TestFixWithoutAllow(t *testing.T) {
	for _, reason := range []verdict.Reason{verdict.NameNotRoutable, verdict.UnclassifiedIntent} {
		got := newTally(true).fix("example.com", verdict.Decision{Outcome: verdict.Deny, Reason: reason})
		if strings.Contains(got, "--allow") || !strings.Contains(got, "a mapping rule for example.com") {
			t.Errorf("%s: %q", reason, got)
		}
	}
}
