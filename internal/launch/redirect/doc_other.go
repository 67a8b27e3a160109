//go:build !linux

// Package redirect leads connections of a Linux sandbox to its Sidecar; elsewhere
// it is empty.
package redirect
