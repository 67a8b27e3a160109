// Package witnessv1 is how an Authority is told about audit checkpoints,
// generated from proto/firma/witness/v1; this comment is its only hand-written
// line.
package witnessv1
