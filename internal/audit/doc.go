// Package audit is firma's signed record of decisions: it appends events to a
// hash-chained log whose Merkle root is signed in checkpoints, and verifies such
// a log. docs/audit-format.md is the format; it needs nothing of this package to
// be checked.
package audit
