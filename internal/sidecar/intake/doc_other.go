//go:build !unix

// Package intake accepts the connections of a Sidecar that stands alone.
package intake
