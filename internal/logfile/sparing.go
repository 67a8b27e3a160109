package logfile

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How many warnings of one text are written at once, and after that.
const (
	burst    = 100
	interval = time.Second
)

// Sparing returns a handler that writes what h does, but not the same warning or
// error over and over: what an agent does can cause thousands of them a second. Of one
// text, a hundred are written, then one a second; "left_out" counts those before it
// that were not. It is safe for concurrent use.
func Sparing(h slog.Handler) slog.Handler { return sparing{h, &texts{seen: map[string]*text{}}} }

type sparing struct {
	slog.Handler
	texts *texts
}

// texts are constants of this program, so there is no end to bound.
type texts struct {
	mu   sync.Mutex
	seen map[string]*text
}

type text struct {
	bucket  *rate.Limiter
	leftOut int
}

func (s sparing) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		leftOut, write := s.texts.take(r.Message, r.Time)
		if !write {
			return nil
		}
		if leftOut > 0 {
			r.AddAttrs(slog.Int("left_out", leftOut))
		}
	}
	return s.Handler.Handle(ctx, r)
}

func (s sparing) WithAttrs(attrs []slog.Attr) slog.Handler {
	return sparing{s.Handler.WithAttrs(attrs), s.texts}
}

func (s sparing) WithGroup(name string) slog.Handler {
	return sparing{s.Handler.WithGroup(name), s.texts}
}

func (t *texts) take(message string, now time.Time) (leftOut int, write bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.seen[message]
	if m == nil {
		m = &text{bucket: rate.NewLimiter(rate.Every(interval), burst)}
		t.seen[message] = m
	}
	if !m.bucket.AllowN(now, 1) {
		m.leftOut++
		return 0, false
	}
	leftOut, m.leftOut = m.leftOut, 0
	return leftOut, true
}
