package main

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// levelTrace is below debug; nothing is logged at it yet.
const levelTrace = slog.LevelDebug - 4

// levelOff is above everything.
const levelOff = slog.Level(127)

// logTargets are the processes of a run, which a directive may name.
var logTargets = []string{"run", "sidecar", "authority"}

// parseFilter reads log directives: comma-separated, each a LEVEL or a
// TARGET=LEVEL, the later winning. It returns the level for target, def where no
// directive applies.
func parseFilter(s, target string, def slog.Level) (slog.Level, error) {
	all, own := def, slog.Level(0)
	named := false
	for d := range strings.SplitSeq(s, ",") {
		d = strings.TrimSpace(d)
		if d == "" {
			continue
		}
		name, word, directed := strings.Cut(d, "=")
		if !directed {
			name, word = "", d
		}
		level, err := parseLevel(word)
		switch name = targetOf(name); {
		case err != nil:
			return def, err
		case !directed:
			all = level
		case !slices.Contains(logTargets, name):
			return def, fmt.Errorf("there is no log target %q; there are %s", name, strings.Join(logTargets, ", "))
		case name == target:
			own, named = level, true
		}
	}
	if named {
		return own, nil
	}
	return all, nil
}

// targetOf takes the names that other programs use: firma_sidecar is sidecar.
func targetOf(name string) string {
	name = strings.TrimSpace(name)
	for _, p := range []string{"firma_", "firma-", "firma::"} {
		name = strings.TrimPrefix(name, p)
	}
	return name
}

func parseLevel(s string) (slog.Level, error) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "off":
		return levelOff, nil
	case "error":
		return slog.LevelError, nil
	case "warn", "warning":
		return slog.LevelWarn, nil
	case "info":
		return slog.LevelInfo, nil
	case "debug":
		return slog.LevelDebug, nil
	case "trace":
		return levelTrace, nil
	}
	return 0, errors.New("there is no log level " + s)
}

// foreignFilter reads RUST_LOG, which is set for other programs as well: only its
// directives that mean something here count, and nothing in it is an error.
func foreignFilter(s, target string, def slog.Level) slog.Level {
	level := def
	for d := range strings.SplitSeq(s, ",") {
		if l, err := parseFilter(d, target, level); err == nil {
			level = l
		}
	}
	return level
}
