// Package conformance runs conformance suites against what agents see: h2spec and
// gRPC's interoperability suite, which others wrote, and one for WebSocket after the
// published case list of the Autobahn test suite, RFC 6455 and RFC 7692, between
// firma and the implementations of others. It is a module of its own, so that what
// the suites depend on is no dependency of firma.
package conformance
