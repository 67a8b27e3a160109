package world

import (
	"os"
	"os/signal"
	"syscall"
)

// OwnSignals makes this process handle the signals that end one, so that the
// processes it starts get their default action even where this one was started
// with some of them ignored (nohup, a background job, a CI runner). firma run
// passes an ignored signal on as ignored, as it should.
func OwnSignals() {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM)
	go func() {
		s := (<-ch).(syscall.Signal)
		os.Exit(128 + int(s))
	}()
}
