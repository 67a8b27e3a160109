//go:build unix

package sidecar

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

// report answers SIGUSR1 with a line of what the process holds, whatever the log's
// level is: who asks wants to see it.
func (c *Sidecar) report(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.asked:
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			c.log.Log(ctx, slog.LevelError+1, "state, asked for by SIGUSR1", "goroutines", runtime.NumGoroutine(),
				"heap_bytes", m.HeapAlloc, "sessions", c.sessions.Load())
		}
	}
}

// hear is where SIGUSR1 arrives until ctx ends. Left alone, it would end the process.
func hear(ctx context.Context) <-chan os.Signal {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	context.AfterFunc(ctx, func() { signal.Stop(asked) })
	return asked
}
