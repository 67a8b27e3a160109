//go:build unix

package sidecar

import (
	"log/slog"
	"syscall"
)

const (
	// perCall is how many descriptors a connection of an agent takes, with its
	// upstream's.
	perCall = 2
	// reserved are for the log and its checkpoints, the Authority's streams, kept
	// upstream connections and the pipes of tunnels: without them all calls end.
	reserved = 512
	// fewest is what a Sidecar serves at least, whatever its limit.
	fewest = 16
)

// affordable is how many connections of agents this process has descriptors for
// (RLIMIT_NOFILE, whose soft limit the runtime has raised to the hard one).
func affordable() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return fewest
	}
	n := min(uint64(l.Cur), 1<<30)
	spare := uint64(reserved)
	if n < 2*spare { // a tight limit: half of it
		spare = n / 2
	}
	return max(int((n-spare)/perCall), fewest)
}

// within lowers a bound on connections, or its default, to what is affordable. It
// says so where that is less than was configured.
func within(bound, def int, key string, log *slog.Logger) int {
	most := affordable()
	switch {
	case bound == 0:
		return min(def, most)
	case bound <= most:
		return bound
	}
	log.Warn("fewer connections are taken than configured: the process may not open enough files",
		"key", key, "configured", bound, "taken", most, "fix", "raise the limit of open files (ulimit -n, LimitNOFILE)")
	return most
}
