package main

import (
	"io"
	"log/slog"
	"os"

	"firma/internal/fault"
)

// newLogger logs at the level given by flag or FIRMA_LOG_FILTER; warnings by
// default.
func newLogger(filter string, to io.Writer) (*slog.Logger, error) {
	if filter == "" {
		filter = os.Getenv("FIRMA_LOG_FILTER")
	}
	level := slog.LevelWarn
	if filter != "" {
		if err := level.UnmarshalText([]byte(filter)); err != nil {
			return nil, fault.New("ArgumentInvalid", "there is no log level "+filter, "use --log-filter error, warn, info or debug")
		}
	}
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: level})), nil
}
