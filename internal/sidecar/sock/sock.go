// Package sock is stream connections for the Sidecar's hot path. On Linux a few event
// loops of the process watch them, and their system calls, which never block, are not
// announced to the scheduler: with the runtime's own, the watchdog takes the processor
// away from whoever stays long in one, and each connection is registered twice when it
// becomes a tunnel. On other systems they are those of package net.
package sock

// keepIdle, keepBetween and keepTries are how a silent peer is asked whether it is still
// there: seconds until the first question, seconds between two, and questions.
const (
	keepIdle    = 15
	keepBetween = 15
	keepTries   = 9
)
