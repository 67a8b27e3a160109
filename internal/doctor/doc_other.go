//go:build !linux

// Package doctor says what a launch lacks on a Linux host; elsewhere it is empty.
package doctor
