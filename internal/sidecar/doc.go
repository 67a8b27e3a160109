//go:build !unix

// Package sidecar is the enforcement role.
package sidecar
