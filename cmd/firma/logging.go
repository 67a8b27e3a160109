package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"firma/internal/fault"
	"firma/internal/logfile"
)

// logging are the flags every command takes, before or after its name.
type logging struct{ filter, file string }

func (l *logging) flags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&l.filter, "log-filter", "", "`LEVEL` how much to log: error, warn (default), info, debug or off; also per process, as in warn,sidecar=debug (or FIRMA_LOG_FILTER)")
	f.StringVar(&l.file, "log-file", "", "`FILE` where to append the log (or FIRMA_LOG_FILE)")
}

// open makes the log of the process that target names. Lines go to the log file,
// else to stderr; levels come from --log-filter, FIRMA_LOG_FILTER, RUST_LOG.
func (l *logging) open(target string, stderr io.Writer) (*slog.Logger, *logfile.Sink, error) {
	return l.openAt(target, stderr, slog.LevelWarn)
}

// openInfo is open for a service, which says what it does unless told otherwise.
func (l *logging) openInfo(target string, stderr io.Writer) (*slog.Logger, error) {
	log, _, err := l.openAt(target, stderr, slog.LevelInfo)
	return log, err
}

func (l *logging) openAt(target string, stderr io.Writer, def slog.Level) (*slog.Logger, *logfile.Sink, error) {
	level, err := l.level(target, def)
	if err != nil {
		return nil, nil, fault.Wrap(err, "ArgumentInvalid", "the log filter can't be used",
			"use error, warn, info, debug, trace or off, or directives such as warn,sidecar=debug, in --log-filter or FIRMA_LOG_FILTER")
	}
	sink := logfile.New(stderr)
	if path := l.path(); path != "" {
		if sink, err = logfile.Open(path); err != nil {
			return nil, nil, fault.Wrap(err, "LogFileUnwritable", "the log file can't be opened", "name a file in an existing directory that you may write, with --log-file or FIRMA_LOG_FILE")
		}
	}
	h := logfile.Sparing(slog.NewTextHandler(sink, &slog.HandlerOptions{Level: level}))
	return slog.New(h.WithAttrs([]slog.Attr{slog.String("process", target)})), sink, nil
}

func (l *logging) level(target string, def slog.Level) (slog.Level, error) {
	filter := firstOf(l.filter, os.Getenv("FIRMA_LOG_FILTER"))
	if filter != "" {
		return parseFilter(filter, target, def)
	}
	return foreignFilter(os.Getenv("RUST_LOG"), target, def), nil
}

func (l *logging) path() string { return firstOf(l.file, os.Getenv("FIRMA_LOG_FILE")) }

// childEnv hands the flags to the processes that this one starts, which work in
// another directory. sidecar is the level that the configuration gives that one;
// flags and environment win.
func (l *logging) childEnv(sidecar string) []string {
	var env []string
	switch {
	case l.filter != "":
		env = append(env, "FIRMA_LOG_FILTER="+l.filter)
	case sidecar != "" && os.Getenv("FIRMA_LOG_FILTER") == "" && os.Getenv("RUST_LOG") == "":
		env = append(env, "FIRMA_LOG_FILTER=sidecar="+sidecar)
	}
	if path := l.path(); path != "" {
		if abs, err := filepath.Abs(path); err == nil {
			env = append(env, "FIRMA_LOG_FILE="+abs)
		}
	}
	return env
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
