// Package conformance runs conformance suites that others wrote against the
// HTTP/2 that agents see. It is a module of its own, so that what the suites
// depend on is no dependency of firma.
package conformance
