// Package firmav1 is the published contract between Sidecar and Authority,
// generated from proto/firma/v1; this comment is its only hand-written line.
package firmav1
