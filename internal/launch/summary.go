//go:build linux

package launch

import (
	"fmt"
	"io"

	"firma/internal/control"
)

// printSummary is the run's one screen: what was allowed, what was refused and
// why, the command that would allow it, and where the proof is.
func printSummary(w io.Writer, s *control.Summary) {
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
	for _, c := range refused {
		fmt.Fprintf(w, "firma: refused  %-40s %4d×  %s: %s\n", c.Destination, c.Count, c.Reason, c.Detail)
		if c.Fix != "" {
			fmt.Fprintf(w, "                to allow it: %s\n", c.Fix)
		}
	}
	if s.More > 0 {
		fmt.Fprintf(w, "firma: and %d more decisions on other destinations, all in the log\n", s.More)
	}
	fmt.Fprintf(w, "firma: audit log %s (%d events; %s)\n", s.Log, s.Events, s.Checkpoint)
}
