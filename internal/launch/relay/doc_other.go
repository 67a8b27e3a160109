//go:build !linux

// Package relay carries a sandbox's connections to a Sidecar.
package relay
