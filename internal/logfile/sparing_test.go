package logfile

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// lines logs count records of one text, every apart, and returns what was written.
func lines(t *testing.T, h slog.Handler, out *bytes.Buffer, level slog.Level, text string, start time.Time, every time.Duration, count int) []string {
	out.Reset()
	for i := range count {
		r := slog.NewRecord(start.Add(time.Duration(i)*every), level, text, 0)
		r.AddAttrs(slog.Int("n", i))
		h.Handle(t.Context(), r)
	}
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
}

func TestSparing(t *testing.T) {
	var out bytes.Buffer
	h := Sparing(slog.NewTextHandler(&out, nil))
	start := time.Now()
	if got := lines(t, h, &out, slog.LevelWarn, "flood", start, 0, 5000); len(got) != 100 || !strings.HasSuffix(got[99], "n=99") {
		t.Errorf("%d lines of 5000 at once, the last one %q", len(got), got[len(got)-1])
	}
	// What was left out is told with the next that is written, whatever was added.
	with := h.WithAttrs([]slog.Attr{slog.String("process", "run")})
	if got := lines(t, with, &out, slog.LevelWarn, "flood", start.Add(time.Second), 0, 2); len(got) != 1 || !strings.HasSuffix(got[0], "process=run n=0 left_out=4900") {
		t.Errorf("a second later: %q", got)
	}
	for _, other := range []struct {
		level slog.Level
		text  string
	}{{slog.LevelError, "another"}, {slog.LevelInfo, "flood"}} {
		if got := lines(t, h, &out, other.level, other.text, start, time.Second, 100); len(got) != 100 {
			t.Errorf("%v %q: %d lines of 100", other.level, other.text, len(got))
		}
	}
	if got := lines(t, h, &out, slog.LevelInfo, "asked for", start, 0, 1000); len(got) != 1000 {
		t.Errorf("%d lines of 1000 that are no warning", len(got))
	}
}
