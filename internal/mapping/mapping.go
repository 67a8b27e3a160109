// Package mapping turns an outbound call into an action class by rules that a
// person wrote. It reads rule files, refuses those with two answers for one call,
// and matches in time that does not grow with the number of rules. The format is
// documented in docs/mapping-rules.md. Apart from the embedded rule sets the
// package is pure; a Table is immutable and safe for concurrent use.
package mapping

import "firma/internal/action"

// Rule says which calls belong to an action class. An empty Method means any, an
// empty Path any path. It is plain data: NewTable checks it.
type Rule struct {
	Method      string            // upper case; CONNECT for tunnels
	Host        string            // "a.test", "*.a.test", "**.a.test" or "*", each with ":port" or without
	Path        string            // whole segments; "*" is one segment, a last "**" is the rest
	Query       map[string]string // decoded; every pair must be in the query exactly once
	ActionClass action.Class

	// TunnelAccepts are what a tunnel may show in its first bytes besides a
	// ClientHello for its own host: words of verdict.ParseAccepts. CONNECT only.
	TunnelAccepts []string
	Source        string // "file:line", "shipped:github", "registry:npm" or "--allow"

	// Grant marks a rule that the operator gave for this run by --allow. Beside
	// it no other rule with the same key counts, and for its host it decides what
	// a tunnel is.
	Grant bool
}

// Coverage says how the rules see a call. The zero value must be denied whatever
// the configuration says about unmapped calls.
type Coverage uint8

// The coverages.
const (
	// Refused calls could be read in two ways of which one is not mapped, or use
	// a method that no rule can name.
	Refused Coverage = iota
	// Unmapped calls match no rule.
	Unmapped
	// Mapped calls have a rule.
	Mapped
)

// String returns the coverage as one lower-case word.
func (c Coverage) String() string {
	switch c {
	case Mapped:
		return "mapped"
	case Unmapped:
		return "unmapped"
	}
	return "refused"
}
