// Package stack keeps an Authority and a Sidecar running as services of one
// account, and says which Sidecars there are: firma sidecar start, stop, status.
// It meets them as processes.
package stack
