//go:build linux

package launch

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/term"

	"firma/internal/control"
)

// untangle ends whatever the agent's last output left a terminal in, so that what
// firma says is seen: an unfinished control string, a link, hidden or coloured
// text, another character set, the alternate screen, margins, insert mode, no
// wrapping, mouse reports (ECMA-48; xterm's control sequences).
const untangle = "\x1b\\\x1b]8;;\x1b\\\x1b[0m\x0f\x1b(B\x1b[?47l\x1b7\x1b[r\x1b8\x1b[4l\x1b[?7h\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\r"

// plain makes a terminal fit for firma's own words; other files need nothing.
func plain(f *os.File) {
	if term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(f, untangle)
	}
}

// printable quotes what would not be harmless on a terminal.
func printable(s string) string {
	if q := strconv.QuoteToASCII(s); q != `"`+s+`"` {
		return q
	}
	return s
}

// shown bounds the lines about refused destinations: the agent chooses how many
// there are, and the others must stay on the screen.
const shown = 20

// whole completes a fix that is the run's own command with a flag more, so that it
// can be pasted.
func whole(fix, again string) string {
	if strings.HasPrefix(fix, "firma run ") && again != "" {
		return fix + " " + again
	}
	return fix
}

// printSummary is the run's one screen: what was allowed, what was refused and
// why, the command that would allow it, and where the proof is.
func printSummary(w io.Writer, s *control.Summary, again string) {
	var allowed, refused []control.Count
	for _, c := range s.Counts {
		if c.Outcome == "DENY" || c.Outcome == "STEP_UP" || c.Outcome == "DEFER" {
			refused = append(refused, c)
		} else {
			allowed = append(allowed, c)
		}
	}
	fmt.Fprintln(w)
	if len(allowed) == 0 && len(refused) == 0 {
		fmt.Fprintln(w, "firma: no call left the sandbox, and none was refused")
	}
	for _, c := range allowed {
		switch c.Outcome {
		case "ABORT":
			fmt.Fprintf(w, "firma: failed   %-40s %4d×  %s: %s\n", c.Destination, c.Count, c.Reason, c.Detail)
		case "ALLOW":
			fmt.Fprintf(w, "firma: allowed  %-40s %4d×\n", c.Destination, c.Count)
		default:
			fmt.Fprintf(w, "firma: allowed  %-40s %4d×  (%s)\n", c.Destination, c.Count, c.Outcome)
		}
	}
	for i, c := range refused {
		if i == shown {
			fmt.Fprintf(w, "firma: refused  and %d more destinations, all in the log\n", len(refused)-shown)
			break
		}
		fmt.Fprintf(w, "firma: refused  %-40s %4d×  %s: %s\n", c.Destination, c.Count, c.Reason, c.Detail)
		if c.Fix != "" {
			fmt.Fprintf(w, "                to allow it: %s\n", whole(c.Fix, again))
		}
	}
	if s.More > 0 {
		fmt.Fprintf(w, "firma: and %d more decisions on other destinations, all in the log\n", s.More)
	}
	fmt.Fprintf(w, "firma: audit log %s (%d events; %s)\n", s.Log, s.Events, s.Checkpoint)
}
